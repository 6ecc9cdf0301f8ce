"""Made-up companies, people, titles and teams for the demo, in several scripts on purpose.

Every domain is under `.example`, so that no address here can belong to anybody.
"""

from __future__ import annotations

from typing import Final

COMPANIES: Final = (
    ("Larkspur Foods", "larkspur.example"),
    ("Tidewater Labs", "tidewater.example"),
    ("Kestrel Freight", "kestrel.example"),
    ("Öhman & Söner", "ohman.example"),
    ("Maison Verlaine", "verlaine.example"),
    ("Copper Finch", "copperfinch.example"),
    ("青空商会", "aozora.example"),
    ("Quill & Ember", "quillember.example"),
    ("Saltmarsh Energy", "saltmarsh.example"),
    ("Πέλαγος", "pelagos.example"),
    ("Juniper Row", "juniperrow.example"),
    ("Bright Anvil", "brightanvil.example"),
)

# (given name, how it is written in an address)
FIRST_NAMES: Final = (
    ("Ada", "ada"),
    ("Amara", "amara"),
    ("Björn", "bjorn"),
    ("Chidi", "chidi"),
    ("Élodie", "elodie"),
    ("Farah", "farah"),
    ("Grace", "grace"),
    ("Henrik", "henrik"),
    ("Ines", "ines"),
    ("Jonas", "jonas"),
    ("Kenji", "kenji"),
    ("Leila", "leila"),
    ("Mateo", "mateo"),
    ("Niamh", "niamh"),
    ("Olga", "olga"),
    ("Priya", "priya"),
    ("Quentin", "quentin"),
    ("Rosa", "rosa"),
    ("Søren", "soren"),
    ("Tomás", "tomas"),
    ("Uma", "uma"),
    ("Viktor", "viktor"),
    ("Wanjiru", "wanjiru"),
    ("Ximena", "ximena"),
    ("Yusuf", "yusuf"),
    ("Zoë", "zoe"),
)

LAST_NAMES: Final = (
    ("Abara", "abara"),
    ("Bergström", "bergstrom"),
    ("Castellanos", "castellanos"),
    ("D'Souza", "dsouza"),
    ("Eriksen", "eriksen"),
    ("Fontaine", "fontaine"),
    ("García", "garcia"),
    ("Haddad", "haddad"),
    ("Ivanova", "ivanova"),
    ("Jabłoński", "jablonski"),
    ("Kimura", "kimura"),
    ("Lindqvist", "lindqvist"),
    ("Mwangi", "mwangi"),
    ("Nakamura", "nakamura"),
    ("O'Brien", "obrien"),
    ("Petrov", "petrov"),
    ("Quiroga", "quiroga"),
    ("Rahman", "rahman"),
    ("Schäfer", "schaefer"),
    ("Takahashi", "takahashi"),
    ("Ueda", "ueda"),
    ("Vasquez", "vasquez"),
    ("Whitlock", "whitlock"),
    ("Yilmaz", "yilmaz"),
)

JOB_TITLES: Final = (
    "Account Executive",
    "Analyst",
    "Controller",
    "Data Engineer",
    "Designer",
    "Engineering Manager",
    "Field Technician",
    "People Partner",
    "Product Manager",
    "Site Reliability Engineer",
    "Software Engineer",
    "Support Lead",
)

GROUPS: Final = (
    "Admins",
    "Billing",
    "Contractors",
    "Customer Care",
    "Engineering",
    "Facilities",
    "Finance",
    "Forschung",
    "On call",
    "Operations",
    "People",
    "Sales",
    "Security",
    "Travel approvers",
)

DIRECTORY_TYPES: Final = ("okta scim v2.0", "azure scim v2.0", "generic scim v2.0", "gsuite directory", "workday")
