"""AuditRecord → html, markdown, junit, console, notebook."""
