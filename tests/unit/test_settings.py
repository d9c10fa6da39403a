"""Settings: read of texts, which of them are in force, and which cluster is meant."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.cli.options.settings import KINDS
from scoop_hpc.errors import SettingsError
from scoop_hpc.settings.clusters import Picked, pick, tables
from scoop_hpc.settings.program_lines import ProgramLine, read_program_lines
from scoop_hpc.settings.site_file import SiteFile, line_numbers, read_site_file
from scoop_hpc.settings.values import COMMAND_LINE_ONLY, Kind, Origin, Setting, Value, resolve
from scoop_hpc.settings.variables import read_variables

ROOT = Path(__file__).parents[2]
HERE = Origin("here")


def read(text: str, path: str = "c.toml") -> SiteFile:
    return read_site_file(text, path, KINDS)


def settings(**values: Value) -> list[Setting]:
    return [Setting(name, value, HERE) for name, value in values.items()]


def in_force(given: list[str], *sources: list[Setting]) -> dict[str, Value]:
    return {name: setting.value for name, setting in resolve(given, sources).items()}


# which are in force


@given(st.lists(st.dictionaries(st.sampled_from(["queue", "walltime", "module"]), st.text()), max_size=5))
def test_the_strongest_source_counts(sources: list[dict[str, str]]) -> None:
    expected = {name: value for source in reversed(sources) for name, value in source.items()}
    assert in_force([], *(settings(**source) for source in sources)) == expected


def test_what_is_given_on_the_command_line_is_left_alone() -> None:
    assert in_force(["queue"], settings(queue="a", walltime="90")) == {"walltime": "90"}


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        ("workers", "workers_per_node"),
        ("workers", "nodes"),
        ("workers_per_node", "workers"),
        ("memory", "memory_per_cpu"),
        ("memory_per_cpu", "memory"),
        ("conda", "venv"),
        ("venv", "conda"),
    ],
)
def test_a_stronger_source_takes_the_place_of_what_it_excludes(stronger: str, weaker: str) -> None:
    strong, weak = settings(**{stronger: "1"}), settings(**{weaker: "2"})
    assert in_force([], strong, weak) == {stronger: "1"}
    assert in_force([stronger], weak) == {}
    assert in_force([], [*strong, *weak]) == {stronger: "1", weaker: "2"}


def test_what_was_displaced_displaces_nothing() -> None:
    sources = settings(workers_per_node="2"), settings(workers="9"), settings(nodes="3")
    assert in_force([], *sources) == {"workers_per_node": "2", "nodes": "3"}


@pytest.mark.parametrize(("name", "needs"), [("container_runtime", "container"), ("mail_events", "mail_user")])
def test_what_is_of_no_use_alone_waits_for_what_it_needs(name: str, needs: str) -> None:
    assert in_force([], settings(**{name: "x"})) == {}
    assert in_force([needs], settings(**{name: "x"})) == {name: "x"}
    assert in_force([], settings(**{name: "x"}), settings(**{needs: "y"})) == {name: "x", needs: "y"}


# files


def test_a_file_is_read_with_its_lines() -> None:
    file = read(
        '# ours\ndefault = "big"\n[defaults]\nwalltime = 90\nexclusive = true\n\n'
        '[clusters.big]\nhosts = "login*"\nmodules = [\n  "gcc/12",\n  "12",\n]\nqueue = "normal"\n'
    )
    assert file.default == Setting("default", "big", Origin("c.toml", 2))
    assert file.defaults == (
        Setting("walltime", "90", Origin("c.toml", 4)),
        Setting("exclusive", True, Origin("c.toml", 5)),
    )
    assert file.clusters["big"] == (
        Setting("hosts", ("login*",), Origin("c.toml", 8)),
        Setting("module", ("gcc/12", "12"), Origin("c.toml", 9)),
        Setting("queue", "normal", Origin("c.toml", 13)),
    )


def test_a_file_may_be_of_windows() -> None:
    assert read('[defaults]\r\nqueue = "a"\r\nnodes = 2\r\n').defaults[1] == Setting("nodes", "2", Origin("c.toml", 3))


def test_times_need_no_quotes() -> None:
    file = read("[defaults]\nwalltime = 01:30:00\nbegin = 2030-01-31T08:00:00\n")
    assert [setting.value for setting in file.defaults] == ["01:30:00", "2030-01-31T08:00:00"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('queue = "a"', "line 1: 'queue' is in no table: put it below [defaults] or [clusters.NAME]"),
        ('defualt = "a"', "line 1: there is no key 'defualt' outside of tables: did you mean 'default'?"),
        ('quue = "a"', "line 1: there is no key 'quue': did you mean 'queue', below [defaults]?"),
        ("x = 1", "line 1: there is no key 'x' outside of tables: choose of clusters, default, defaults"),
        ("hosts = []", "line 1: 'hosts' is in no table: put it below [clusters.NAME]"),
        ("\n[cluster.a]", "line 2: there is no table [cluster]: did you mean 'clusters'?"),
        ("default = 3", "line 1: default is 3: name a cluster, in quotes"),
        ("clusters = 3", "line 1: clusters is 3: write a table, [clusters]"),
        ("[[clusters]]", "line 1: clusters is [{}]: write a table, [clusters]"),
        ("[clusters]\na = 3", "line 2: clusters.a is 3: write a table, [clusters.a]"),
        ('[defaults]\nqueu = "a"', "line 2: there is no setting 'queu': did you mean 'queue'?"),
        ("[defaults]\nx = 1", "line 2: there is no setting 'x': scoop-hpc submit --help lists them"),
        ("[defaults]\nhosts = []", "line 2: 'hosts' is of a cluster: put it below [clusters.NAME]"),
        ("[defaults]\nwait = true", "line 2: 'wait' is no setting, but for the command line only"),
        ("[defaults]\nnodes = true", "line 2: nodes is true: write a text or a number"),
        ("[defaults]\nqueue = {a = 1}", "line 2: queue is a table: write a text or a number"),
        ('[defaults]\nexclusive = "yes"', "line 2: exclusive is 'yes': write true or false"),
        ("[defaults]\nmodules = [true]", "line 2: modules is [True]: write a list of texts"),
        ("[defaults]\nmodules = [1]", "line 2: modules is [1]: write a list of texts"),
        ('[defaults]\nmodules = ["a", 1.5]', "line 2: modules is ['a', 1.5]: write a list of texts"),
        ("[defaults]\nmodules = 1", "line 2: modules is 1: write a list of texts"),
        ('[defaults]\nmodules = []\nmodule = "a"', "line 3: 'module' says again what c.toml, line 2 says: drop one"),
        ("[defaults]\nqueue = normal", "line 2: 'queue = normal' is not TOML (Invalid value): a text needs quotes"),
        ("[defaults]\nwalltime = 1:00:00", "line 2: 'walltime = 1:00:00' is not TOML (Expected newline"),
        ('[defaults]\nqueue = "a\n', "line 2: 'queue = \"a' is not TOML"),
        ('[defaults]\nqueue = "a\n', "character '\\n'): close the quotes"),
        ("a = 1\na = 2", "line 2: 'a = 2' is not TOML (Cannot overwrite a value): it is there already, drop one"),
        ('[defaults]\nqueue = """a\n\n', 'line 2: \'queue = """a\' is not TOML (Unterminated string): close the'),
        ("[a]\n[a]\n", "line 2: '[a]' is not TOML (Cannot declare ('a',) twice): it is there already, drop one"),
        ("a = " + "[" * 5000, "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(complaint)) as raised:
        read(text)
    assert str(raised.value).startswith("c.toml")


KEYS = st.text(string.ascii_lowercase, min_size=1, max_size=4)
TEXTS = st.text(string.printable.replace("\r", ""), max_size=20)
VALUES = st.one_of(
    TEXTS.map(json.dumps),
    st.lists(TEXTS.map(json.dumps), max_size=3).map(lambda items: "[\n" + ", # ]\n".join(items) + "\n]"),
    st.text(string.ascii_letters + " []=#\n", max_size=20).map(lambda text: f"'''{text}'''"),
    st.integers().map(str),
)


@given(
    st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4), st.sampled_from(["", "\n", "# x\n"])
)
def test_each_key_is_found_on_its_line(document: dict[str, dict[str, str]], between: str) -> None:
    text = ""
    expected: dict[tuple[str, ...], int] = {}
    for name, table in document.items():
        text += between
        expected[(name,)] = text.count("\n") + 1
        text += f"[{name}] # {name}\n"
        for key, value in table.items():
            text += between
            expected[(name, key)] = text.count("\n") + 1
            text += f"{key} = {value}\n"
    found = line_numbers(text)
    assert found == expected


def test_keys_in_dotted_and_inline_tables_have_lines() -> None:
    found = line_numbers('clusters.a.queue = "x"\n[clusters]\nb = {queue = "y"}\n')
    assert (found["clusters", "a", "queue"], found["clusters", "b", "queue"]) == (1, 3)


# the cluster

BIG = '[clusters.big]\nscheduler = "slurm"\nhosts = ["login*.big.org", "mgmt"]\nqueue = "normal"\n'
SMALL = '[clusters.small]\nscheduler = "pbs"\nqueue = "short"\n'


def never() -> str:
    raise AssertionError("looked for a scheduler")


def profile(name: str) -> Setting:
    return Setting("profile", name, Origin("--profile"))


@pytest.mark.parametrize("host", ["login1.big.org", "LOGIN2.Big.org", "mgmt", "mgmt.big.org"])
def test_a_cluster_is_known_by_its_hosts(host: str) -> None:
    picked = pick([read('default = "small"\n' + BIG + SMALL)], None, host, None, never)
    assert picked == Picked("big", f"its hosts in c.toml:4 fit this one, {host}")


def test_a_named_cluster_goes_before_that_of_the_host() -> None:
    assert pick([read(BIG + SMALL)], profile("small"), "mgmt", "slurm", never) == Picked("small", "--profile names it")


def test_the_default_is_for_hosts_that_fit_none() -> None:
    files = [read(BIG + SMALL), read('default = "small"', "weaker.toml")]
    assert pick(files, None, "x", None, never) == Picked("small", "it is the default in weaker.toml:1")


def test_the_only_cluster_of_the_scheduler_that_is_here_is_meant() -> None:
    assert pick([read(BIG + SMALL)], None, "x", None, lambda: "pbs").cluster == "small"
    assert pick([read(BIG + SMALL)], None, "x", None, lambda: "sge").cluster is None
    two = BIG + SMALL + SMALL.replace("small", "other")
    assert pick([read(two)], None, "x", None, lambda: "pbs").cluster is None


def test_clusters_of_another_scheduler_than_the_one_asked_for_are_passed_over() -> None:
    file = read('default = "big"\n' + BIG + SMALL + "[clusters.any]\nhosts = 'x'\n")
    assert pick([file], None, "mgmt", "pbs", never).cluster == "small"
    assert pick([file], None, "mgmt", "local", never).cluster is None
    assert pick([file], None, "x", "local", never).cluster == "any"


def test_no_file_needs_no_scheduler_to_be_found() -> None:
    assert pick([], None, "x", None, never).cluster is None
    assert pick([read("[clusters.a]\nqueue = 'q'")], None, "x", None, never).cluster is None


@pytest.mark.parametrize(
    ("text", "name", "complaint"),
    [
        (BIG + SMALL, "bgi", "--profile: there is no cluster 'bgi': did you mean 'big'? All are big, small"),
        (BIG + SMALL, "", "--profile: there is no cluster '': choose of big, small"),
        ("", "big", "--profile: there is no cluster 'big': no file has a table [clusters.NAME]"),
        ('default = "smal"\n' + SMALL, None, "c.toml, line 1: there is no cluster 'smal': did you mean 'small'?"),
        (
            BIG + "[clusters.b]\nhosts = 'mg*'",
            None,
            "this host, 'mgmt', fits the hosts of the clusters 'big' and 'b' (c.toml:3, c.toml:6): choose one",
        ),
    ],
)
def test_a_cluster_that_cannot_be_told_is_refused(text: str, name: str | None, complaint: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(complaint)):
        pick([read(text)], None if name is None else profile(name), "mgmt", None, never)


def test_tables_of_a_cluster_in_several_files_are_one() -> None:
    strong = read("[clusters.big]\nqueue = 'mine'\n[defaults]\nnodes = 2", "strong")
    weak = read(BIG + "account = 'a'\nnodes = 3\n[defaults]\naccount = 'b'", "weak")
    found = resolve((), tables([strong, weak], "big"))
    assert {name: setting.origin.brief for name, setting in found.items()} == {
        "queue": "strong:2",
        "nodes": "strong:4",
        "scheduler": "weak:2",
        "account": "weak:5",
    }
    assert pick([strong, weak], None, "mgmt", None, never).cluster == "big"


def test_without_a_cluster_the_defaults_apply() -> None:
    assert list(resolve((), tables([read(BIG + "[defaults]\nnodes = 1")], None))) == ["nodes"]


# variables


def test_variables_set_what_they_are_called() -> None:
    environ = {"SCOOP_HPC_QUEUE": "q", "SCOOP_HPC_MODULES": "gcc 'a b'", "SCOOP_HPC_NODES": "", "QUEUE": "x"}
    assert read_variables(environ, KINDS) == (
        (
            Setting("module", ("gcc", "a b"), Origin("$SCOOP_HPC_MODULES")),
            Setting("queue", "q", Origin("$SCOOP_HPC_QUEUE")),
        ),
        [],
    )


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("SCOOP_HPC_QUEU", "did you mean SCOOP_HPC_QUEUE?"),
        ("SCOOP_HPC_queue", "did you mean SCOOP_HPC_QUEUE?"),
        ("SCOOP_HPC_PROFIL", "did you mean SCOOP_HPC_PROFILE?"),
        ("SCOOP_HPC_X", "there is no such option"),
        ("SCOOP_HPC_", "there is no such option"),
    ],
)
def test_a_variable_that_sets_nothing_is_warned_of(name: str, advice: str) -> None:
    assert read_variables({name: "1"}, KINDS) == ((), [f"{name} sets nothing: {advice}"])


def test_variables_that_cannot_be_right_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"^\$SCOOP_HPC_MODULE: cannot split \"a 'b\" into words"):
        read_variables({"SCOOP_HPC_MODULE": "a 'b"}, KINDS)
    with pytest.raises(SettingsError, match=r"^\$SCOOP_HPC_MODULES: \$SCOOP_HPC_MODULE is set as well"):
        read_variables({"SCOOP_HPC_MODULE": "a", "SCOOP_HPC_MODULES": "b"}, KINDS)


def test_no_variable_of_ours_is_taken_for_a_setting() -> None:
    sources = [*ROOT.glob("scoop_hpc/**/*.py"), *ROOT.glob("templates/*"), *ROOT.glob("tests/cluster/*.py")]
    names = {name for path in sources for name in re.findall(r"\bSCOOP_HPC_[A-Z_]*[A-Z]\b", path.read_text())}
    assert names >= {"SCOOP_HPC_STATE", "SCOOP_HPC_KEYS", "SCOOP_HPC_JOB_HOSTLIST"}
    documented = {"SCOOP_HPC_QUEUE", "SCOOP_HPC_JOB", "SCOOP_HPC_LOCAL"}
    assert read_variables(dict.fromkeys(names - documented, "1"), KINDS) == ((), [])


# a program's lines


def test_lines_at_the_head_of_a_program_are_read() -> None:
    text = "#!/usr/bin/env python3\n#SCOOP --nodes 4 --name 'a b'\n\n  # why\n#SCOOP\t--requeue\n'''doc'''\n"
    assert read_program_lines(text, "p.py") == (
        [
            ProgramLine(("--nodes", "4", "--name", "a b"), Origin("p.py", 2)),
            ProgramLine(("--requeue",), Origin("p.py", 5)),
        ],
        [],
    )


@pytest.mark.parametrize("end", ["'''doc'''", "import os", "x = 1  # y"])
def test_the_head_ends_with_the_first_statement(end: str) -> None:
    found, warnings = read_program_lines(f"{end}\n#SCOOP --nodes 4\n", "p.py")
    assert (found, len(warnings)) == ([], 1)
    assert warnings[0].startswith("p.py, line 2: '#SCOOP --nodes 4' sets nothing: it has to be above the docstring")


@pytest.mark.parametrize(
    "line", ["# SCOOP --nodes 4", "#scoop --nodes 4", " #SCOOP --nodes 4", "#SCOOP: --nodes 4", "#SCOOP--nodes 4"]
)
def test_a_line_that_only_looks_like_one_is_warned_of(line: str) -> None:
    found, warnings = read_program_lines(line, "p.py")
    assert (found, len(warnings)) == ([], 1)


@pytest.mark.parametrize("line", ["#SCOOPS --nodes 4", "# SCOOP is good", "#SCOOP", "##SCOOP --nodes 4"])
def test_other_comments_are_comments(line: str) -> None:
    assert read_program_lines(line, "p.py") == ([], [])


@pytest.mark.parametrize("text", ['"""Write\n\n#SCOOP --nodes 4\n"""\n', "x = '''\n  # SCOOP --nodes 4'''\n"])
def test_an_example_in_a_text_is_no_line_of_the_program(text: str) -> None:
    assert read_program_lines(text, "p.py") == ([], [])


@pytest.mark.parametrize("text", ["def f(\n#SCOOP --nodes 4\n", "x = 1\n#SCOOP --nodes 4\n  y = '''"])
def test_what_is_no_python_is_read_as_far_as_it_goes(text: str) -> None:
    assert len(read_program_lines(text, "p.py")[1]) == 1


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_end_as_pythons_do(newline: str) -> None:
    (line,), _ = read_program_lines(newline.join(["#\x0c", "#SCOOP --nodes 4", "x = 1"]), "p.py")
    assert line == ProgramLine(("--nodes", "4"), Origin("p.py", 2))


def test_quotes_that_are_not_closed_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"^p.py, line 1: cannot split '--name \"a' into words"):
        read_program_lines('#SCOOP --name "a', "p.py")


# what can be set


def test_every_option_of_submit_is_a_setting_or_is_for_the_command_line() -> None:
    assert not COMMAND_LINE_ONLY & set(KINDS)
    assert {name: KINDS[name] for name in ("nodes", "scheduler", "template", "module", "requeue")} == {
        "nodes": Kind.TEXT,
        "scheduler": Kind.TEXT,
        "template": Kind.TEXT,
        "module": Kind.LIST,
        "requeue": Kind.FLAG,
    }
