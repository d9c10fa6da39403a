"""Whose files are believed, by what lstat says of the way to them."""

from __future__ import annotations

import pytest

from scoop_hpc.files.ownership import Entry, Identity, objection

ME, PI, STRANGER = 1000, 1001, 1002
OWN, TEAM = 1000, 5000  # groups: of the user alone, of a project
WHO = Identity(frozenset({0, ME}), frozenset({OWN}))

ROOT = (0o40755, 0, 0)
HOME = (0o40755, ME, OWN)
TMP = (0o41777, 0, 0)
OPEN = (0o40777, 0, 0)  # /scratch without a sticky bit
PROJECT = (0o42770, PI, TEAM)


def way(*entries: tuple[int, int, int]) -> list[Entry]:
    """Return a way with these modes, owners and groups, by paths /, /1, /1/2 and so on."""
    paths = ["/", "/1", "/1/2", "/1/2/3", "/1/2/3/4"]
    return [Entry(path, *entry) for path, entry in zip(paths, (ROOT, *entries))]


@pytest.mark.parametrize(
    ("entries", "own", "reason"),
    [
        # the file
        ([HOME, (0o100644, ME, OWN)], 1, None),
        ([HOME, (0o100644, 0, 0)], 1, None),
        ([HOME, (0o100644, STRANGER, OWN)], 1, "'/1/2' belongs to another user (uid 1002)"),
        ([HOME, (0o100400, STRANGER, OWN)], 1, "'/1/2' belongs to another user (uid 1002)"),
        ([HOME, (0o100666, ME, OWN)], 1, "everybody may write to '/1/2' (mode 0666)"),
        ([HOME, (0o100662, 0, 0)], 1, "everybody may write to '/1/2' (mode 0662)"),
        ([HOME, (0o100664, ME, OWN)], 1, None),  # umask 002, user private groups
        ([HOME, (0o100664, ME, TEAM)], 1, "a group (gid 5000) may write to '/1/2' (mode 0664)"),
        ([HOME, (0o101666, ME, OWN)], 1, "everybody may write to '/1/2' (mode 1666)"),
        # the directories above it
        ([(0o40775, ME, OWN), (0o100644, ME, OWN)], 1, None),  # a home, with umask 002
        ([TMP, (0o100644, ME, OWN)], 1, None),
        ([TMP, (0o100644, STRANGER, STRANGER)], 1, "'/1/2' belongs to another user (uid 1002)"),
        ([OPEN, (0o100644, ME, OWN)], 1, "everybody may write to '/1' (mode 0777)"),
        ([OPEN, HOME, (0o100644, ME, OWN)], 1, "everybody may write to '/1' (mode 0777)"),
        ([PROJECT, (0o100644, ME, TEAM)], 1, None),
        ([PROJECT, HOME, (0o100644, ME, TEAM)], 1, None),
        ([PROJECT, (0o100644, PI, TEAM)], 1, "'/1/2' belongs to another user (uid 1001)"),
        ([PROJECT, (0o100664, ME, TEAM)], 1, "a group (gid 5000) may write to '/1/2' (mode 0664)"),
        # a directory above it that is to be the user's, too
        ([HOME, HOME, (0o100644, ME, OWN)], 2, None),
        ([HOME, (0o40755, STRANGER, OWN), (0o100644, ME, OWN)], 2, "'/1/2' belongs to another user (uid 1002)"),
        ([HOME, (0o42775, ME, TEAM), (0o40700, ME, OWN)], 2, "a group (gid 5000) may write to '/1/2' (mode 2775)"),
        ([HOME, (0o43775, ME, TEAM), (0o40700, ME, OWN)], 2, None),  # the group can add to it
        ([TMP, (0o40700, ME, OWN)], 2, None),
        ([TMP, (0o40777, ME, OWN), (0o40700, ME, OWN)], 2, "everybody may write to '/1/2' (mode 0777)"),
        ([TMP, (0o41777, STRANGER, OWN), (0o40700, ME, OWN)], 2, "'/1/2' belongs to another user (uid 1002)"),
        ([HOME, HOME, TMP], 2, "everybody may write to '/1/2/3' (mode 1777)"),
        # links
        ([TMP, (0o120777, ME, OWN), (0o100644, ME, OWN)], 1, None),
        (
            [TMP, (0o120777, STRANGER, OWN), (0o100644, ME, OWN)],
            1,
            "the link '/1/2' was laid by another user (uid 1002)",
        ),
        ([PROJECT, (0o120777, PI, TEAM), (0o100644, ME, OWN)], 1, None),
        ([HOME, (0o120777, ME, OWN), (0o100644, STRANGER, OWN)], 1, "'/1/2/3' belongs to another user (uid 1002)"),
        ([HOME, (0o120777, ME, OWN), HOME, (0o100644, ME, OWN)], 2, None),
    ],
)
def test_what_others_could_have_written_is_not_believed(
    entries: list[tuple[int, int, int]], own: int, reason: str | None
) -> None:
    assert objection(way(*entries), WHO, own) == reason


def test_files_of_root_as_a_user_namespace_shows_them_are_believed() -> None:
    nobody = (0o40755, 65534, 65534)
    entries = [Entry("/", *nobody), Entry("/etc", *nobody), Entry("/etc/a", 0o100644, 65534, 65534)]
    assert objection(entries, Identity(frozenset({0, ME}))) is not None
    assert objection(entries, Identity(frozenset({0, ME, 65534}))) is None
