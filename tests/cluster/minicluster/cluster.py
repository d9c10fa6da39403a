"""The cluster: bring it up, break it, mend it, take it down."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from minicluster import files, namespaces, network, packages, shell
from minicluster.scheduler import SCHEDULERS, Scheduler, foreign_commands
from minicluster.state import FILE, HEAD, ClusterError, Host, Settings, State, load

NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")  # arp(7): entries, in one table for all namespaces
ENTRIES = 1.75  # of that table, for each pair of nodes, at the most
MAX_NODES = 250  # in their subnet
MAX_PATH = 50  # the sockets' names below the directory have to stay under 108 bytes
_BOOT = Path(__file__).with_name("boot.sh")


class Cluster:
    """A cluster in *directory* that is up, or was left behind there."""

    def __init__(self, directory: Path, state: State) -> None:
        self.directory = directory
        self.state = state

    @property
    def scheduler(self) -> Scheduler:
        """Whose cluster it is."""
        return SCHEDULERS[self.state.settings.scheduler]

    @property
    def nodes(self) -> list[str]:
        """The names of the compute nodes."""
        return [name for name in self.state.hosts if name != HEAD]

    @property
    def shared(self) -> Path:
        """The directory that all hosts see, and everybody may write to."""
        return self.directory / "shared"

    def enter_argv(self, name: str, argv: Sequence[str], cwd: str = "/", user: str | None = None) -> list[str]:
        """Return the command that runs *argv* on the host *name*."""
        return namespaces.enter_argv(self._pid(name), argv, cwd, user)

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        user: str | None = None,
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
        text: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run *argv* on a host with a login's environment and *env*; TimeoutExpired ends it with SIGKILL."""
        who = {"USER": user, "LOGNAME": user, "HOME": str(self.directory / "home" / user)} if user else {}
        return subprocess.run(
            self.enter_argv(name, argv, cwd, user),
            check=False,
            capture_output=True,
            text=True,
            input=text,
            timeout=timeout,
            env=shell.environment({**who, **(env or {})}),
        )

    def processes(self, name: str, with_daemons: Sequence[str] = ()) -> list[namespaces.Process]:
        """Return what runs on a host besides the simulation and the scheduler's daemons, other than *with_daemons*."""
        found = namespaces.processes(self._pid(name))
        return [each for each in found if each.title in with_daemons or not self._belongs_to_the_host(each)]

    def files(self, name: str, directory: str) -> list[str]:
        """Return what lies in *directory* as the host sees it, without the shared directories' mount points."""
        mounted = {Path(path).parts[2] for path in self.state.settings.shared} if directory == "/tmp" else set()
        return sorted(set(os.listdir(f"/proc/{self._pid(name)}/root{directory}")) - mounted)

    def status(self) -> dict[str, str]:
        """Return each host's state: dead, cut, up, or for a compute node the scheduler's word for it."""
        words = self._node_states() if self._alive(HEAD) else {}
        states = {}
        for name, host in self.state.hosts.items():
            states[name] = "dead" if not self._alive(name) else "cut" if host.cut else words.get(name) or "up"
        return states

    def cut(self, name: str) -> None:
        """Drop every packet of a node from now on: no reset, no carrier loss, silence."""
        self._change(name, cut=True)
        network.set_forwarding(self.state.hosts[name], False)

    def heal(self, name: str) -> None:
        """Undo `cut`."""
        self._change(name, cut=False)
        network.set_forwarding(self.state.hosts[name], True)

    def cut_between(self, one: str, other: str) -> None:
        """Drop every packet between two nodes from now on, without a word; all others still reach both."""
        self._misroute(one, other, True)

    def heal_between(self, one: str, other: str) -> None:
        """Undo `cut_between`."""
        self._misroute(one, other, False)

    def reset_between(self, one: str, other: str) -> None:
        """Break every connection between two nodes, with what is under way there; new ones may be made at once."""
        self.run(one, ["ss", "--kill", "dst", self.state.hosts[other].address])  # ss(8)

    def kill_node(self, name: str) -> None:
        """Power a node off: silence on the network first, then no process is left."""
        network.set_forwarding(self.state.hosts[name], False)
        self._kill([self.state.hosts[name]])
        network.remove_link(self.state.hosts[name].link)
        self._change(name, pid=None, started=None, cut=False)

    def start_node(self, name: str, timeout: float = 60) -> None:
        """Boot a killed node, and wait until the scheduler has it back."""
        if self._alive(name):
            raise ClusterError(f"{name!r} is running; kill-node it first")
        shutil.rmtree(self.directory / "hosts" / name)
        self.boot([name], time.monotonic() + timeout)
        self.wait_usable([name], time.monotonic() + timeout)

    def forget_jobs(self, timeout: float = 30) -> None:
        """Let the scheduler know no job that ever was, as if the last one had ended long ago."""
        for process in namespaces.processes(self._pid(HEAD)):
            if process.title in self.scheduler.killed_to_forget:
                os.kill(process.outer_pid, signal.SIGKILL)
        self.ask(self.scheduler.forget_jobs)
        self.wait_usable(self.nodes, time.monotonic() + timeout)

    def delete_jobs(self, timeout: float = 30) -> None:
        """End all jobs, and wait until the scheduler has none left."""
        deadline = time.monotonic() + timeout
        self.run(HEAD, self.scheduler.delete_jobs)  # that there is none is an error for some
        while jobs := self.ask(self.scheduler.list_jobs):
            if time.monotonic() > deadline:
                raise ClusterError(f"not within {timeout:g} s: no job is left in the queue\n{jobs}")
            time.sleep(0.05)

    def ask(self, argv: Sequence[str]) -> str:
        """Run *argv* on the login node; return its stdout, and raise ClusterError where its status is not 0."""
        done = self.run(HEAD, argv)
        if done.returncode:
            raise ClusterError(f"failed with status {done.returncode}: {list(argv)!r}\n{done.stdout}{done.stderr}")
        return done.stdout

    def logs(self, name: str) -> str:
        """Return the tails of what tells of a host."""
        return files.logs(self.directory, name, self.scheduler.logs(self.directory, name))

    def boot(self, names: Sequence[str], deadline: float) -> None:
        """Make the hosts' namespaces, wire them and wait for their daemons."""
        gates: list[int] = []
        try:
            for name in names:
                files.write_host(self.directory, self.state, self.state.hosts[name])
                gates.append(self._spawn(name, deadline))
            network.wire(self.state.bridge, [self.state.hosts[name] for name in names])
            for gate in gates:
                os.write(gate, b"go\n")
        finally:
            for gate in gates:
                os.close(gate)
        for name in names:
            self._wait(name, self._booted, deadline, "did not boot")

    def wait_usable(self, names: Iterable[str], deadline: float) -> None:
        """Wait until the scheduler would start jobs on *names*."""
        for name in names:
            self._wait(name, self._usable, deadline, f"is not usable for {self.scheduler.title}")

    def down(self) -> None:
        """End every process of the cluster and remove every trace of it."""
        self._kill([host for host in self.state.hosts.values() if self._alive(host.name)])
        network.forget_rule(self.state.iptables)
        network.remove_links(_prefix(self.directory))
        shutil.rmtree(self.directory)

    def _spawn(self, name: str, deadline: float) -> int:
        """Start the host's PID 1; return the pipe end at which it waits for its network."""
        host, settings = self.state.hosts[name], self.state.settings
        traps = [str(settings.private_tmp), str(settings.docker_interface), *settings.shared]
        argv = ["/bin/sh", str(_BOOT), str(self.directory), name, settings.scheduler, f"{host.address}/24", *traps]
        read_end, write_end = os.pipe()
        try:
            log = str(self.directory / "hosts" / name / "log" / "init.log")
            above = namespaces.spawn(argv, read_end, log, shell.environment())
        finally:
            os.close(read_end)
        pid = namespaces.child(above)
        while pid is None and time.monotonic() < deadline:
            time.sleep(0.002)
            pid = namespaces.child(above)
        if pid is None:
            raise ClusterError(f"{name} has no PID 1")
        self._change(name, pid=pid, started=namespaces.start_time(pid))
        return write_end

    def _misroute(self, one: str, other: str, misroutes: bool) -> None:
        for name, to in ((one, other), (other, one)):
            done = self.run(name, network.misroute_argv(self.state.hosts[to], misroutes))
            if done.returncode:
                raise ClusterError(f"{name} cannot change its way to {to}: {done.stderr}")

    def _change(self, name: str, **changes: object) -> None:
        if name not in self.nodes and "cut" in changes:
            raise ClusterError(f"no compute node {name!r}; there are {', '.join(self.nodes)}")
        self.state.hosts[name] = replace(self.state.hosts[name], **changes)  # type: ignore[arg-type]
        self.state.save(self.directory)

    def _pid(self, name: str) -> int:
        host = self.state.hosts.get(name)
        if host is None:
            raise ClusterError(f"no host {name!r}; there are {', '.join(self.state.hosts)}")
        if host.pid is None or not self._alive(name):
            raise ClusterError(f"{name!r} is dead; start-node brings it back")
        return host.pid

    def _alive(self, name: str) -> bool:
        host = self.state.hosts[name]
        if host.pid is None or self.state.boot_id != namespaces.boot_id():
            return False
        return namespaces.start_time(host.pid) == host.started

    def _kill(self, hosts: Sequence[Host]) -> None:
        for host in hosts:
            if host.pid is not None:
                os.kill(host.pid, signal.SIGKILL)  # the kernel ends all else in its PID namespace
        deadline = time.monotonic() + 20
        while any(self._alive(host.name) for host in hosts):
            if time.monotonic() > deadline:
                raise ClusterError(f"of these a PID 1 does not die: {hosts!r}")
            time.sleep(0.01)

    def _booted(self, name: str) -> bool:
        return (self.directory / "hosts" / name / "booted").exists()

    def _usable(self, name: str) -> bool:
        return self._node_states().get(name) in self.scheduler.usable

    def _wait(self, name: str, condition: Callable[[str], bool], deadline: float, what: str) -> None:
        while not condition(name):
            if time.monotonic() > deadline or not self._alive(name):
                raise ClusterError(f"{name} {what}\n{self.logs(name)}")
            time.sleep(0.02)

    def _node_states(self) -> dict[str, str]:
        done = self.run(HEAD, self.scheduler.node_states)
        return self.scheduler.parse_node_states(done.stdout) if done.returncode == 0 else {}

    def _belongs_to_the_host(self, process: namespaces.Process) -> bool:
        # a daemon may have changed its arguments only, as "slurmstepd: [19.batch]"
        names = (process.title, process.argv[0].partition(":")[0])
        return any(name in self.scheduler.daemons for name in names) or process.argv == ("sleep", "1000000")


def up(directory: Path, settings: Settings, timeout: float = 120) -> Cluster:
    """Bring a cluster up in *directory*, which must not exist; what cannot be finished is taken down again."""
    if os.geteuid() != 0:
        raise ClusterError("network namespaces can be made by root only: run this as root")
    directory = directory.absolute()
    if len(str(directory)) > MAX_PATH:
        raise ClusterError(f"the state directory's name {str(directory)!r} is longer than {MAX_PATH} bytes")
    most = min(MAX_NODES, int((int(NEIGHBOURS.read_text()) / ENTRIES) ** 0.5))
    if not 1 <= settings.nodes <= most:
        raise ClusterError(f"a cluster has 1 to {most} nodes, not {settings.nodes!r}: see {NEIGHBOURS}")
    if directory.exists():
        raise ClusterError(f"{str(directory)!r} exists; is a cluster up there? 'down' ends it")
    if settings.scheduler not in SCHEDULERS:
        raise ClusterError(f"no scheduler {settings.scheduler!r}; there are {', '.join(SCHEDULERS)}")
    scheduler = SCHEDULERS[settings.scheduler]
    packages.ensure(scheduler.packages)
    loopback = settings.own_name_is_loopback and scheduler.bears_loopback_names
    deadline = time.monotonic() + timeout
    directory.mkdir(mode=0o755)
    cluster = Cluster(directory, _plan(directory, replace(settings, own_name_is_loopback=loopback)))
    try:
        cluster.state.save(directory)
        files.write_common(directory, foreign_commands(settings.scheduler))
        scheduler.write(directory, cluster.state)
        network.make_bridge(cluster.state.bridge, cluster.state.subnet.replace(".0/24", ".254"))
        cluster.state.iptables = network.let_bridged_packets_pass(cluster.state.bridge)
        cluster.boot([HEAD], deadline)
        scheduler.define(directory, cluster.state, cluster.ask)
        cluster.boot(cluster.nodes, deadline)
        cluster.wait_usable(cluster.nodes, deadline)
    except BaseException:  # Ctrl-C too: nothing may stay behind
        cluster.down()
        raise
    return cluster


def find(directory: Path) -> Cluster:
    """Return the cluster that is in *directory*."""
    return Cluster(directory.absolute(), load(directory))


def exists(directory: Path) -> bool:
    """Return whether a cluster is in *directory*, up or left behind."""
    return (directory / FILE).exists()


def _plan(directory: Path, settings: Settings) -> State:
    prefix = _prefix(directory)
    subnet = network.free_subnet(int(prefix[2:], 16) % 256)
    base = str(subnet.network_address).rpartition(".")[0]
    state = State(settings, f"{prefix}br", str(subnet), namespaces.boot_id())
    state.hosts[HEAD] = Host(HEAD, f"{base}.253", f"{prefix}p0")
    for i in range(1, settings.nodes + 1):
        name = f"{settings.prefix}{i:03d}"
        state.hosts[name] = Host(name, f"{base}.{i}", f"{prefix}p{i}")
    return state


def _prefix(directory: Path) -> str:
    return "sc" + hashlib.sha256(str(directory).encode()).hexdigest()[:4]
