"""The users and organizations of the demonstration, the same on every machine.

The `seed` command stores them; stack/traffic/ acts in their names. Imports no Django.
Passwords are not here: they come from the environment.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DemoOrganization:
    """An organization and the role of each of its members by username."""

    name: str
    country: str
    roles: dict[str, str]


USERNAMES = ("alice", "bob", "carol", "dave", "erin", "frank")

# Each user is an admin of one organization and no member of all: every action succeeds for each
# user in one organization and is denied in another.
ORGANIZATIONS = (
    DemoOrganization(
        "Nordwind Logistik", "DE", {"alice": "admin", "bob": "accountant", "carol": "member"}
    ),
    DemoOrganization("Atelier Lumière", "FR", {"bob": "admin", "dave": "member", "erin": "member"}),
    DemoOrganization("Kestrel Instruments", "GB", {"carol": "admin", "alice": "accountant"}),
    DemoOrganization("Tramontana Foods", "ES", {"dave": "admin", "frank": "member"}),
    DemoOrganization("Fjell & Fjord", "NO", {"erin": "admin", "frank": "accountant"}),
    DemoOrganization("Hafen Werke", "DE", {"frank": "admin", "alice": "member", "dave": "member"}),
)

CUSTOMERS = ("Acme Ltd", "Blau GmbH", "Café Miró", "Delta SA", "Orion AS")
INVOICES_PER_ORGANIZATION = 12
