"""The result of a job for people: sentences, tables and plots, as one page or in forms that others read."""
