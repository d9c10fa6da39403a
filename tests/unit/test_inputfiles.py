"""Files as users have them: whatever cannot be read, or should not be believed, is refused in one line."""

from __future__ import annotations

import grp
import os
import pwd
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from scoop_hpc.errors import InputError
from scoop_hpc.files import private
from scoop_hpc.files.reading import identity, read_file, read_text
from scoop_hpc.jobs import directories


def test_a_missing_file_is_none() -> None:
    assert read_file("/no/such/file", "the settings", trust="") is None
    assert read_file("/etc/passwd/file", "the settings", trust="") is None


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "circle").symlink_to("circle")
    for path, complaint in (
        (tmp_path, "Is a directory: name a file"),
        (tmp_path / "fifo", "Is a FIFO: name a file"),
        (Path("/dev/null"), "Is a device: name a file"),
        (tmp_path / "circle", "Too many levels of symbolic links"),
        (tmp_path / ("a" * 300), "File name too long"),
    ):
        with pytest.raises(InputError, match=re.escape(f"cannot read the hostfile '{path}': {complaint}")):
            read_text(str(path), "the hostfile")
    with pytest.raises(InputError, match="^cannot read the hostfile 'a\\\\x00b': .*embedded null"):  # as Python says it
        read_text("a\0b", "the hostfile")


def test_a_file_that_is_not_text_is_refused_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_bytes(b"a 4\nb\xe9 2\n")
    with pytest.raises(InputError, match=r": b'\\xe9' in line 2 is not UTF-8: save it as that$"):
        read_text(str(tmp_path / "hosts"), "the hostfile")


def test_a_file_that_nobody_wrote_is_refused_by_its_size(tmp_path: Path) -> None:
    with open(tmp_path / "core", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="it has more than 4 MB: name another file"):
        read_file(str(tmp_path / "core"), "the settings")


def test_a_pipe_of_the_shells_is_read_where_that_is_done_once() -> None:
    read, write = os.pipe()
    os.write(write, b"a 4\n")
    os.close(write)
    assert read_text(f"/dev/fd/{read}", "the hostfile", trust="") == "a 4\n"
    with pytest.raises(InputError, match="Is a FIFO"):
        read_file(f"/dev/fd/{read}", "the program")
    os.close(read)


@pytest.fixture
def team_file(tmp_path: Path) -> Path:
    """A file that everybody may write to."""
    path = tmp_path / "project" / "file"
    path.parent.mkdir()
    path.write_text("text")
    path.chmod(0o666)
    return path


def test_a_file_that_others_may_write_to_is_not_believed(team_file: Path) -> None:
    complaint = f"^the settings '{team_file}' could make this run what others wrote: everybody may write to "
    with pytest.raises(InputError, match=complaint):
        read_file(str(team_file), "the settings", trust="")
    assert read_file(str(team_file), "the hostfile") == b"text"  # where it is not asked


def test_a_link_is_as_good_as_its_file(team_file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(os.path.join("project", "..", "project", "file"))
    with pytest.raises(InputError, match=f"everybody may write to '{team_file}'"):
        read_file(str(tmp_path / "link"), "the settings", trust="")
    team_file.chmod(0o644)
    assert read_file(str(tmp_path / "link"), "the settings", trust="") == b"text"


def test_a_team_trusts_its_own_directory(team_file: Path, tmp_path: Path) -> None:
    assert read_file(str(team_file), "the settings", trust=f"/nowhere:{team_file.parent}") == b"text"
    (tmp_path / "link").symlink_to("project")
    assert read_file(str(tmp_path / "link" / "file"), "the settings", trust=str(tmp_path / "link")) == b"text"
    for trust in ("/nowhere", "project", str(team_file.parent)[:-1], ":"):
        with pytest.raises(InputError, match="SCOOP_HPC_TRUST"):
            read_file(str(team_file), "the settings", trust=trust)


def test_directories_for_state_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private.make_private(str(tmp_path / "a" / "state" / "jobs"))
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "a" / "state", tmp_path / "a" / "state" / "jobs"):
        assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("open_to_all", ["state", "state/jobs"])
def test_a_directory_for_state_that_others_may_write_to_is_refused(tmp_path: Path, open_to_all: str) -> None:
    jobs = tmp_path / "state" / "jobs"
    private.make_private(str(jobs))
    (tmp_path / open_to_all).chmod(0o777)
    complaint = f"^the directory for state '{jobs}' is not safe: everybody may write to '{tmp_path / open_to_all}'"
    with pytest.raises(InputError, match=complaint):
        private.make_private(str(jobs))
    with pytest.raises(InputError, match=complaint):
        list(directories.newest_first(str(tmp_path / "state"), print))


def test_a_directory_for_state_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(InputError, match="cannot read the directory for state .*: Not a directory: .*SCOOP_HPC_STATE"):
        list(directories.newest_first(str(tmp_path / "state"), print))


def test_a_directory_for_state_is_refused_before_it_is_there_where_it_would_be(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    jobs = tmp_path / "team" / "me" / "state" / "jobs"
    private.check_private(str(jobs), to_be_made=True)
    (tmp_path / "team").chmod(0o777)
    private.check_private(str(jobs))  # nothing is there
    with pytest.raises(InputError, match=f"'{jobs}' is not safe: everybody may write to '{tmp_path / 'team'}'"):
        private.check_private(str(jobs), to_be_made=True)
    assert not jobs.parent.parent.exists()


@pytest.mark.parametrize(
    ("group", "number", "members", "is_private"),
    [
        ("me", 1500, [], True),  # a user private group
        ("me", 1500, ["me"], True),
        ("me", 1500, ["me", "you"], False),
        ("other", 1000, [], True),  # called otherwise, with the user's number
        ("users", 100, [], False),  # that others have it as their first group cannot be seen
        ("team", 5000, ["me"], False),
    ],
)
def test_a_group_is_private_if_it_is_called_as_its_only_member(
    monkeypatch: pytest.MonkeyPatch, group: str, number: int, members: list[str], is_private: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="me", pw_gid=number))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_name=group, gr_gid=gid, gr_mem=members))
    assert identity().uids >= {0, 1000}
    assert identity().groups == (frozenset({number}) if is_private else frozenset())


@pytest.mark.parametrize(("gid", "groups"), [(1000, {1000}), (100, set())])
def test_a_user_whom_nobody_knows_has_the_group_of_his_number(
    monkeypatch: pytest.MonkeyPatch, gid: int, groups: set[int]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: gid)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert identity().groups == groups
