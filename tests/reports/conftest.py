"""Records whose every text is one that a report must not be broken by."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import audit
from audit.record import AuditRecord

from ..conftest import image_data, made_once, table_data, trained

HOSTILE = ["<script>alert(1)</script>", "x" * 400, "\u202eevil\u202c", "🙂 'q' \"d\" & co"]


def of_images(cnn: nn.Module) -> AuditRecord:
    x, y = image_data(120)
    return audit.run(
        audit.Subject(
            cnn,
            x,
            y,
            classes=HOSTILE[:3],
            name=HOSTILE[0],
            input={"range": (0, 1)},
            sensitive={HOSTILE[3]: np.array(HOSTILE)[np.arange(120) % 4]},
            data_name=HOSTILE[2],
        ),
        profile="quick",
    )


def of_a_table() -> AuditRecord:
    x, y = table_data(300)
    return audit.run(
        audit.Subject(
            trained(nn.Linear(4, 2), x, y),
            x,
            y,
            features=[{"name": n, "columns": [i]} for i, n in enumerate(HOSTILE)],
        ),
        profile="quick",
    )


@pytest.fixture(scope="session")
def hostile_record(
    cnn: nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AuditRecord, AuditRecord]:
    return (
        made_once(tmp_path_factory, "hostile-images", lambda: of_images(cnn)),
        made_once(tmp_path_factory, "hostile-table", of_a_table),
    )
