"""Grid Engine's words for a job that is refused or waits, explained, with the option of ours that has to do with it.

A job's reasons come from three answers: ``qstat -j``, which knows what the scheduler found in its last round where the
site lets it tell (``schedd_job_info``); ``qalter -w p``, whether the job could begin now; and ``qalter -w v``, whether
it could on an empty cluster. None of them changes the job.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from scoop_hpc.schedulers.base import OR_LOCAL

_ADVICE = (  # what a command says, in lower case: what to do about it; the first that is found
    ("parallel environment", "change --pe"),
    ("unknown queue", "change --queue"),
    ("unknown resource", "change --directive or --constraint"),
    ("project", "change --account"),
    ("advance reservation", "change --reservation"),
    ("not a time value", "change --walltime"),
    ("not a memory value", "change --memory-per-cpu"),
    ("object name", "change --name"),
    ("no suitable queues", "ask for less by --workers, --walltime or --memory-per-cpu, or change --queue or --pe"),
    ("invalid option argument", "change --directive"),
    ("date/time", "change --begin"),
    ("limit", "wait until others of your jobs have ended"),
    ("not a submit host", "submit on a login node"),
    ("no submit host", "submit on a login node"),
    ("not a manager", "ask the site's staff"),
    ("select error", f"try again later{OR_LOCAL}"),
    ("unable to send message", f"try again later{OR_LOCAL}"),
    ("sge_root", f"source the site's settings.sh{OR_LOCAL}"),
)
_DECORATION = re.compile(
    r"Unable to run job: |job rejected: |\b(?:error|denied|warning): |qsub: |; Exiting\.|Exiting\."
)

PASSES = 'qstat -j "$1"; echo "== now"; qalter -w p "$1"; echo "== ever"; qalter -w v "$1"'
_NOW, _EVER = "== now", "== ever"
_IMPOSSIBLE = "no suitable queues"

_CHANGE_SIZE = "fewer --workers (or --nodes)"
_REASONS: tuple[tuple[str, str, str], ...] = (  # what is found: what it means, what can be changed
    (
        r'cannot run in PE "(?P<a>.+?)" because it only offers (?P<b>\d+) slots?',
        "the parallel environment {a!r} has {b} slots {when}, fewer than it asks for",
        _CHANGE_SIZE,
    ),
    (
        r"not contained in its hard queue list|not in hard queue list|because it is not contained in its master hard",
        "other queues are not those that it asks for",
        "another --queue",
    ),
    (
        r"(?:because PE|PE) \"(?P<a>.+?)\" is not in pe list",
        "its queue does not have the parallel environment {a!r}",
        "another --pe or --queue",
    ),
    (
        r"offers only \S*h_rt=(?P<a>\S+)",
        "a queue lets jobs run {a} at most",
        "a shorter --walltime, or another --queue",
    ),
    (
        r"offers only \S*(?:h_vmem|mem_free|virtual_free)=(?P<a>\S+)",
        "a queue has {a} of memory for it",
        "a smaller --memory-per-cpu",
    ),
    (r"offers only qc:slots=0", "its queues have no slot free", "wait, or change --queue"),
    (r"offers only \S*:(?P<a>\w+)=(?P<b>\S+)", "queues have only {b} of {a} {when}", "wait, or ask for less"),
    (
        r"[Jj]ob dropped because of job dependencies",
        "it waits for another job to end",
        "wait, or submit it anew without",
    ),
    (r"execution time not reached", "its time has not come (--begin)", "wait"),
    (r"Job is in hold state", "it is held", "qrls {job}, if you hold it; else ask who does"),
    (r"max_aj_instances|array tasks may", "as many jobs of its array run as may at a time", "the %LIMIT of --array"),
    (
        r"exceeds limit \"(?P<a>.+?)\"(?: in rule \"(?P<b>.+?)\")?",
        "it would exceed the site's limit {a} (qconf -srqs)",
        "ask for less, or wait until others of your jobs have ended",
    ),
    (
        r"resources requested are not available for parallel job|combined under PE",
        "not as many slots as it asks for are free together",
        f"wait; {_CHANGE_SIZE} may fit earlier",
    ),
    (
        r"has no permission for (?P<a>.+)",
        "you may not use {a}",
        "another --queue, or ask the site's staff",
    ),
    (
        r"does not have the correct project|do not provides the jobs assigned project|excluded project list",
        "its project may not use its queues",
        "another --account or --queue",
    ),
    (r"not assigned to a project", "its queues are for projects only, and it has none", "give --account"),
    (
        r"not a parallel queue|not in queue list of PE",
        "its queues take no such parallel jobs",
        "another --queue or --pe",
    ),
    (r"not a serial|not parallel", "its queues take parallel jobs only", "more --workers, or another --queue"),
    (r"non requestable", "its queues, or a resource, cannot be asked for by name", "leave --queue or --directive out"),
    (
        r"'forced' resource",
        "its queues are for jobs that ask for a certain resource",
        "give --constraint, or another --queue",
    ),
    (r"load alarm|overloaded", "its queues are overloaded", "wait"),
    (r'has "0" slots|has 0 slots', "its queues have no slots", "another --queue"),
    (r"requests unknown resource", "it asks for a resource that there is not", "another --constraint or --directive"),
    (
        r"not supported by pe|not in range|allocation rule is not suitable|requires more slots|insufficient slots",
        "its parallel environment cannot give the slots that it asks for",
        f"{_CHANGE_SIZE}, or another --pe",
    ),
    (r"no access to pe", "you may not use its parallel environment", "another --pe"),
    (r"no matching pe", "there is no such parallel environment", "another --pe"),
    (r"clean up of|host cleanup", "what is left of an earlier job on its host is being cleaned up", "wait"),
    (
        r"no host can satisfy|cannot run (?:at host|in queue|globally)|resource requirements",
        "no queue has what it asks for {when}",
        "wait, or ask for less",
    ),
    (r"dropped because of (?:\w+ )?hold", "it is held", "qrls {job}, if you hold it; else ask who does"),
    (r"user limitations|maxujobs|user/group limitations", "as many of your jobs run as may at a time", "wait"),
)
_INSTANCES = (  # of queue instances, why they are out of question: they are counted
    ("because it is full", "full"),
    ("temporarily not available", "not available: their hosts are down, perhaps"),
    ("because it is disabled", "disabled"),
    ("because it is suspended", "suspended"),
    ("because it is overloaded", "overloaded"),
    ("because it is in error state", "in an error state"),
)
_INSTANCE = re.compile(r'queue instance "(.+?)" dropped (.*)')
_NOTHING = (
    "verification:",
    "(Collecting of scheduler",
    "All queues dropped because of overload or full",
    "denied:",
    "there are no messages",
)
_ERROR = re.compile(r"^error reason\s+(\d+):\s+(.*)$", re.MULTILINE)
_ERRORS = (
    ("can't chdir", "make that directory"),
    ("can't open output file", "make that directory, or change --output"),
    ("unable to find shell", "ask the site's staff where bash is"),
    ("exit_status of job start = 100", "the program ended with 100, by which Grid Engine means this"),
)


def advise(words: str) -> str:
    """Return a command's words without their decoration, and the option of ours that has to do with them."""
    plain = _DECORATION.sub("", words).strip("; ")
    advice = [what for word, what in _ADVICE if word in words.lower()]
    return f"{plain} ({advice[0]})" if advice else plain


def explain(job: str, answers: str) -> list[str]:
    """Return why *job* does not run, from the *answers* of `PASSES`, what can be changed last.

    >>> explain("7", "error reason    1:  11/22/2026 17:26:34 [0:1]: error: can't chdir to /no: No such file\\n")[1]
    'make that directory; then qmod -cj 7 to try again, or cancel it and submit it again'
    """
    about, _, rest = answers.partition(_NOW)
    now, _, ever = rest.partition(_EVER)
    errors = list(dict.fromkeys(_without_stamp(match[2]) for match in _ERROR.finditer(about)))
    if errors:
        advice = next((what for word, what in _ERRORS if word in errors[0]), "see to that")
        lines = [f"Grid Engine could not start it: {error}" for error in errors]
        return [*lines, f"{advice}; then qmod -cj {job} to try again, or cancel it and submit it again"]
    if not about.strip() or "jobs do not exist" in about:
        return ["Grid Engine does not know it any more", "see how it stands: scoop-hpc status"]
    if _IMPOSSIBLE in ever:
        why, what = _translate(job, _lines(ever), "in all")
        return ["it can never begin as the site is now", *why, _advice(what) or "ask for less, or change --queue"]
    why, what = _translate(job, _lines(_scheduling_info(about)), "free now")
    if not why:
        why, what = _translate(job, _lines(now), "free now")
    if not why:
        return ["nothing keeps it from beginning: it has just been submitted, or others are before it", "wait"]
    predecessors = re.search(r"^jid_predecessor_list(?:_l)?:\s+(\S+)", about, re.MULTILINE)
    if predecessors:
        why.append(f"it is to begin after {predecessors[1]}")
    return [*why, _advice(what) or "wait"]


def _without_stamp(words: str) -> str:
    """Return *words* without time, user and process before them.

    >>> _without_stamp("11/22/2026 17:26:34 [61234:145]: error: can't chdir")
    "can't chdir"
    """
    return re.sub(r"^[\d/]+ [\d:.]+ \[\d+:\d+\]: (?:error: )?", "", words.strip())


def _scheduling_info(about: str) -> str:
    """Return what ``qstat -j`` has under ``scheduling info:``, the last of what it tells."""
    return about.partition("scheduling info:")[2]


def _lines(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(_NOTHING)]


def _translate(job: str, lines: Sequence[str], when: str) -> tuple[list[str], list[str]]:
    """Return in plain words why, and what can be changed."""
    why: dict[str, None] = {}
    what: dict[str, None] = {}
    instances: Counter[str] = Counter()
    for line in lines:
        instance = _INSTANCE.search(line)
        if instance is not None:
            instances[next((words for part, words in _INSTANCES if part in instance[2]), instance[2])] += 1
            continue
        for pattern, meaning, advice in _REASONS:
            match = re.search(pattern, line)
            if match is not None:
                why[meaning.format(**match.groupdict(), when=when)] = None
                what[advice.format(job=job)] = None
                break
        else:
            why[f"Grid Engine says: {line}"] = None
    counted = [
        f"{count} of the queues' hosts {'is' if count == 1 else 'are'} {why}" for why, count in instances.items()
    ]
    return [*why, *counted], list(what)


def _advice(what: Sequence[str]) -> str:
    return "; ".join(what)
