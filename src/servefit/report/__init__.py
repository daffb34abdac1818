"""The result of a job for people: sentences, tables and plots, as an HTML page, Markdown, JSON or CSV."""
