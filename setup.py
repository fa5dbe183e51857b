"""What pyproject.toml cannot say: where the packages are.

`checks/` and `reports/` stand at the top of the repository and are installed under `audit`. Their packages
are found, never listed.
"""

from setuptools import find_packages, setup

PLACES = {"audit": "audit", "audit.checks": "checks", "audit.reports": "reports"}

setup(
    package_dir=PLACES,
    packages=[
        name
        for package, folder in PLACES.items()
        for name in (package, *(f"{package}.{sub}" for sub in find_packages(folder)))
    ],
)
