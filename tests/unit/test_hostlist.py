"""Nodelists: Slurm's order and widths, its errors and ours, and the way back."""

from __future__ import annotations

import itertools
import re
import time
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.errors import HostlistError
from scoop_hpc.hostlist import MAX_HOSTS, expand, expand_counts, fold

# names that are alike, so that runs, changes of width and repetitions occur
NAMES = st.builds(
    "{}{:0{}}{}".format,
    st.sampled_from(["n", "gpu", "rack1-", "n0", "", "a.b_", "1x"]),
    st.integers(0, 120),
    st.integers(1, 3),
    st.sampled_from(["", "", "-ib", ".site"]),
) | st.sampled_from(["login", "n", "gpu"])


# what Slurm 22.05.8 and 26.11 print for `scontrol show hostnames`, suffixes 23.11 and later
@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("node[001-003,007],gpu[9-11],login", "node001 node002 node003 node007 gpu9 gpu10 gpu11 login"),
        ("rack[0-1]n[08-10]", "rack0n08 rack0n09 rack0n10 rack1n08 rack1n09 rack1n10"),
        ("n[9-10]", "n9 n10"),
        ("n[9-010]", "n9 n10"),
        ("n[1-010]", "n1 n2 n3 n4 n5 n6 n7 n8 n9 n10"),
        ("n[098-101]", "n098 n099 n100 n101"),
        ("n[0,00,000]", "n0 n00 n000"),
        ("[1-2][4-5]", "14 15 24 25"),
        ("[0-2]", "0 1 2"),
        ("n[1-3]-ib", "n1-ib n2-ib n3-ib"),
        ("gpu[0-1].site", "gpu0.site gpu1.site"),
        ("b,a,b", "b a b"),
        ("node/abc,node%abc", "node/abc node%abc"),
        ("node[18446744073709551615]", "node18446744073709551615"),
        ("n[0000000000000000000000001]", "n0000000000000000000000001"),
        ("n2, n1\tn3\nn4,,n5,", "n2 n1 n3 n4 n5"),
        ("", ""),
        (" ,\n", ""),
    ],
)
def test_hosts_come_as_written(text: str, hosts: str) -> None:
    assert expand(text) == hosts.split()


def test_of_three_groups_the_last_is_fastest_then_the_first() -> None:
    hosts = "n1x3y5 n1x3y6 n2x3y5 n2x3y6 n1x4y5 n1x4y6 n2x4y5 n2x4y6"  # scontrol show hostnames
    assert " ".join(expand("n[1-2]x[3-4]y[5-6]")) == hosts


def test_of_four_groups_the_last_is_fastest_then_the_first_and_second() -> None:
    hosts = expand("[1-2]a[1-2]b[1-2]c[1-2]")
    assert hosts[:5] == ["1a1b1c1", "1a1b1c2", "2a1b1c1", "2a1b1c2", "1a2b1c1"]
    assert hosts[-1] == "2a2b2c2"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("n[5-3]", "reversed range '5-3' at character 3"),
        ("n[]", "'', which is no number or range of numbers, at character 3"),
        ("n[1,]", "'', which is no number or range of numbers, at character 5"),
        ("n[,1]", "at character 3"),
        ("n[1,,2]", "at character 5"),
        ("n[-1]", "'-1', which"),
        ("n[1-]", "'1-', which"),
        ("n[1-2-3]", "'1-2-3', which"),
        ("n[a-c]", "'a-c', which"),
        ("n[0x1-3]", "'0x1-3', which"),
        ("n[+1-2]", "'+1-2', which"),
        ("n[1.5-2]", "'1.5-2', which"),
        ("n[ 1-2]", "' 1-2', which"),
        ("n[1-8/2]", "'1-8/2', which"),
        ("n[\u0661-\u0662]", "which is no number"),
        ("n[1-2", "a bracket that is nested or not closed at character 2"),
        ("n[[1-2]]", "a bracket that is nested or not closed at character 2"),
        ("n1]", "a bracket that was not opened at character 3"),
        ("all{}", "a node-list function, which only Slurm's controller can answer, at character 4"),
        ("(null)", "the character '(' at character 1"),
        ("n1;n2", "the character ';' at character 3"),
        ("n\x00", "the character '\\x00' at character 2"),
        ("n[1-99999999999]", "more than 65536 hosts at character 3"),
        ("n[1-99999999999999999999]", "which is over"),
        ("n[18446744073709551616]", "which is over 18446744073709551615, at character 3"),
        ("n[\N{ARABIC-INDIC DIGIT THREE}]", "which is no number"),
        ("n[0-65536]", "more than 65536 hosts at character 3"),
        ("n[0-65535,1]", "more than 65536 hosts at character 11"),
        ("n[1-300]x[1-300]", "more than 65536 hosts at character 17"),
        ("n[1-9999][1-9999][1-9999][1-9999]", "more than 65536 hosts at character 18"),
    ],
)
def test_no_nodelist(text: str, what: str) -> None:
    with pytest.raises(HostlistError) as caught:
        expand(text)
    assert repr(text) in str(caught.value)
    assert what in str(caught.value)


def test_many_large_ranges_are_refused_before_memory_is_gone() -> None:
    with pytest.raises(HostlistError, match=f"more than {MAX_HOSTS} hosts"):
        expand(",".join(["n[1-65536]"] * 10_000))


def test_a_large_machine_is_expanded_at_once() -> None:
    hosts = expand("n[00001-65536]")
    assert (hosts[0], hosts[-1], len(hosts)) == ("n00001", "n65536", 65536)


@pytest.mark.parametrize(
    "text",
    [
        "n[00001-65536]",
        "rack[0-255]n[0-255]-ib",
        f"n[{','.join(str(i) for i in range(0, 131_072, 2))}]",
        ",".join(f"n{i}" for i in range(65_536)),
        ",".join(f"rack{i}n[0-63]" for i in range(1024)),
    ],
    ids=["one range", "groups", "single numbers", "names", "many ranges"],
)
def test_a_large_machine_is_expanded_at_once_however_it_is_written(text: str) -> None:
    assert len(expand(text)) == 65_536
    assert any(timeit.timeit(lambda: expand(text), timer=time.process_time, number=1) < 0.3 for _ in range(3))


@given(st.lists(NAMES, max_size=20))
def test_fold_is_undone_by_expand(names: list[str]) -> None:
    assert expand(fold(names)) == names


# an element as (text, groups), a group as ranges of (lower end, count, width); what it means is written down naively
RANGES = st.tuples(st.integers(0, 120), st.integers(1, 12), st.integers(1, 4))
ELEMENTS = st.tuples(
    st.lists(st.sampled_from(["n", "gpu-", "r0", "a.b_", ".site", "-ib"]), min_size=1, max_size=3),
    st.lists(st.lists(RANGES, min_size=1, max_size=3), max_size=2),
)


def _write(element: tuple[list[str], list[list[tuple[int, int, int]]]]) -> tuple[str, list[str]]:
    """Return one element's text, and its hosts: a text, then a group and a text in turn."""
    texts, groups = element
    text, hosts = texts[0], [texts[0]]
    for group, after in zip(groups, itertools.chain(texts[1:], itertools.repeat(""))):
        ranges, numbers = [], []
        for lower, count, width in group:
            ranges.append(f"{lower:0{width}}" + (f"-{lower + count - 1}" if count > 1 else ""))
            numbers += [str(number).zfill(width) for number in range(lower, lower + count)]
        text += f"[{','.join(ranges)}]{after}"
        hosts = [f"{host}{number}{after}" for host in hosts for number in numbers]
    return text, hosts


@given(st.lists(ELEMENTS, max_size=5), st.sampled_from([",", " ", "\n", "\t,", ",,"]))
def test_any_list_is_the_lists_of_its_elements_one_after_the_other(
    elements: list[tuple[list[str], list[list[tuple[int, int, int]]]]], separator: str
) -> None:
    written = [_write(element) for element in elements]
    hosts = expand(separator.join(text for text, _ in written))
    assert hosts == [host for _, hosts in written for host in hosts]
    assert expand(fold(hosts)) == hosts


def _expand_or_complain(text: str) -> list[str] | str:
    try:
        return expand(text)
    except HostlistError as error:
        return str(error)


@given(st.text(alphabet="n1-09[],x( )\n") | st.text())
def test_any_other_text_is_an_error_that_shows_it(text: str) -> None:
    outcome = _expand_or_complain(text)
    if isinstance(outcome, str):
        assert repr(text) in outcome
        assert re.search(r" at character [0-9]+$", outcome)
    else:
        assert expand(fold(outcome)) == outcome


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 5)), min_size=1, max_size=8))
def test_counts_are_said_as_often_as_they_are_counted(runs: list[tuple[int, int]]) -> None:
    text = ",".join(str(count) if times == 1 else f"{count}(x{times})" for count, times in runs)
    assert expand_counts(text) == [count for count, times in runs for _ in range(times)]


def test_of_a_long_text_an_error_shows_the_part_that_is_wrong() -> None:
    with pytest.raises(HostlistError) as caught:
        expand(",".join(["node1"] * 10_000) + ",node(2)," + ",".join(["node3"] * 10_000))
    assert len(str(caught.value)) < 600
    assert "node1,node(2),node3" in str(caught.value)
    assert "'(' at character 60005" in str(caught.value)


@pytest.mark.parametrize("text", ["n" * 256, "n[1-2]" + "x" * 255, "x" * 100_000 + "[1-65536]"])
def test_a_name_longer_than_any_is_refused_before_it_is_multiplied(text: str) -> None:
    with pytest.raises(HostlistError, match="a name of more than 255 characters"):
        expand(text)


def test_a_counted_list_is_wrong_at_a_character() -> None:
    with pytest.raises(HostlistError, match=r"'3x' at character 9 of the counted list '4\(x2\),5,3x'"):
        expand_counts("4(x2),5,3x")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("n1 n2 n3 n5", "n[1-3,5]"),
        ("n3 n2 n1", "n[3,2,1]"),
        ("n8 n9 n10 n11", "n[8-9,10-11]"),
        ("n08 n09 n10", "n[08-10]"),
        ("n n1 n", "n,n1,n"),
        ("rack0node00 rack0node01 rack1node00", "rack0node[00-01],rack1node00"),
        ("s08-ib s09-ib", "s08-ib,s09-ib"),  # as Slurm itself writes them
        ("n1 n1", "n[1,1]"),
        ("", ""),
    ],
)
def test_fold_keeps_the_order_and_joins_runs_of_one_width(names: str, text: str) -> None:
    assert fold(names.split()) == text


def test_a_large_machine_is_folded_into_what_can_be_expanded() -> None:
    names = [f"n{i:05}" for i in range(70_000)]
    assert fold(names) == "n[00000-65535],n[65536-69999]"


@pytest.mark.parametrize("name", ["", "a,b", "a b", "n[1]", "x\n", "x" * 256])
def test_fold_refuses_what_is_no_host_name(name: str) -> None:
    with pytest.raises(HostlistError) as caught:
        fold([name])
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "counts"), [("72(x2),36", [72, 72, 36]), ("4", [4]), ("1(x1)", [1]), ("4,2,1", [4, 2, 1])]
)
def test_counts(text: str, counts: list[int]) -> None:
    assert expand_counts(text) == counts


@pytest.mark.parametrize(
    "text",
    ["", "4,", ",4", "4(x0)", "4(x)", "4 (x2)", " 4", "-1", "4(x-2)", "x2", "(x2)", "4(x2", "4.5", "4\n", "\u0664"],
)
def test_no_counts(text: str) -> None:
    with pytest.raises(HostlistError) as caught:
        expand_counts(text)
    assert repr(text) in str(caught.value)


def test_counts_for_absurdly_many_nodes_are_refused() -> None:
    with pytest.raises(HostlistError, match="more than"):
        expand_counts("1(x999999999)")
