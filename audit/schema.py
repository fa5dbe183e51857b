"""`python -m audit.schema`: write `record.schema.json` again after the record has changed."""

from __future__ import annotations

import json

from audit.record import SCHEMA_FILE, json_schema

if __name__ == "__main__":
    SCHEMA_FILE.write_text(json.dumps(json_schema(), indent=1) + "\n", encoding="utf-8")
