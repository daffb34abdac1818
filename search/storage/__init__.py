"""Where jobs are kept: one Optuna study each, in SQLite or on a database server, with every step as it ends."""
