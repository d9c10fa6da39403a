"""The agent's command line, for launchers: it brings the rooms of the house together on a node."""

from __future__ import annotations

import argparse
import functools
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence

from msgspec import structs

from scoop_hpc import futures  # noqa: F401  programs import it: once, for all workers of the node
from scoop_hpc.cli import alias, worker_options
from scoop_hpc.cli.worker_options import WorkerOptions, trace_to
from scoop_hpc.cpus import cpu_numbers
from scoop_hpc.errors import LaunchError, ScoopError
from scoop_hpc.files.kernel import read_text
from scoop_hpc.launchers.granted_memory import granted_memory
from scoop_hpc.protocol.messages import Welcome
from scoop_hpc.protocol.names import ORIGIN, WorkerName, broker_name
from scoop_hpc.run import children, environment
from scoop_hpc.run.agent import Agent, AgentPlan, Main, Mains
from scoop_hpc.run.search_state import Ended
from scoop_hpc.run.signal_fd import SignalFd
from scoop_hpc.run.watching.once import Once
from scoop_hpc.run.watching.trace import broker_track, worker_track
from scoop_hpc.shares.share import Granted, Place, Share, deal_shares, read_granted, variables_of
from scoop_hpc.transport import sockets
from scoop_hpc.transport.entrance import Entrance
from scoop_hpc.transport.last_word import LastWord
from scoop_hpc.worker import main as worker_main
from scoop_hpc.worker.main import WorkerPlan

_OF_SLURM = "SLURMD_NODENAME"  # holds the name of a node where srun has started its agent


def main(words: Sequence[str] | None = None, once: Once | None = None) -> None:
    """Be the agent of this node, by the *words* of a command line, or this process's own.

    *once* is the driver's own, from which this process was forked.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the driver decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # a driver on this machine has it blocked until here
    parser = argparse.ArgumentParser(prog="scoop-hpc agent")
    parser.add_argument("--patience", type=float, required=True, help="seconds to wait for the driver")
    parser.add_argument("--grace", type=float, required=True, help="seconds without a connection that are borne")
    parser.add_argument("--node", help="the scheduler's name for this node")
    parser.add_argument("--node-variable", help="the environment variable that holds that name")
    parser.add_argument("--node-of-host", action="store_true", help="that name is the host's own")
    parser.add_argument("--interface", default="", help="the network interface that other nodes reach this one by")
    parser.add_argument("--parent", type=int, help="the process id of a driver that is the agent's parent")
    parser.add_argument("--party", type=int, default=0, help="the number of the allocation that has joined the run")
    parser.add_argument("--environment", help="the file that brought this environment, to be removed at the end")
    arguments = parser.parse_args(words)
    addresses, keys = environment.take_agent_variables(os.environ)
    options = worker_options.decode(os.environ.pop(worker_options.VARIABLE, ""))
    granted = read_granted(worker_options.wanted(options), os.environ, cpu_numbers(), read_text, os.listdir)
    once = once or Once()
    mains = Mains(functools.partial(_broker, options, once), functools.partial(_worker, options, once, granted))
    node = _node(arguments)
    plan = AgentPlan(
        node=node,
        driver=addresses,
        curve=keys,
        patience=arguments.patience,
        silence=sockets.silence_within(arguments.grace),
        parent=arguments.parent or os.getppid(),
        own_addresses=functools.partial(_own_addresses, arguments.interface),
        is_traced=options.trace > 0,
        party=arguments.party,
        memory=granted_memory(os.environ, node),
        lost_files=once.noted,
    )
    if arguments.party and arguments.parent:
        children.end_with_parent()  # the run goes on without it, and would keep this node
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):  # warnings are for the program, by way of the driver
        signal.signal(number, signal.SIG_IGN)
    signals = SignalFd((signal.SIGCHLD, signal.SIGTERM))
    environ = dict(os.environ)  # of this node's own job: that of the run takes its place
    agent = Agent(plan, mains, signals)
    try:
        agent.join()
        agent.run(worker_options.run_observers(options, plan.node, "agent", once, agent.print))
        is_left_over = agent.has_lost_joiner
        while agent.is_to_return:  # in this process: to start another may be no longer possible
            newcomer = Agent(structs.replace(plan, parent=os.getppid()), mains, signals)
            try:
                newcomer.join()
            except LaunchError:  # if the driver is gone, the first node has said so, unless it is gone, too
                is_left_over = is_left_over or not plan.party  # a joiner ends its job itself
                break
            agent = newcomer
            agent.run(worker_options.run_observers(options, plan.node, "agent", once, agent.print))
            is_left_over = is_left_over or agent.has_lost_joiner
        if is_left_over and arguments.node_variable == _OF_SLURM:
            _end_leftover(agent, environ, signals)
    except Ended:
        return
    except ScoopError as error:
        sys.exit(f"scoop-hpc: error: node {plan.node}: {error}")
    finally:
        if arguments.environment:
            environment.remove(arguments.environment)  # the driver has, unless it was killed
    # a joiner has to know how its agents ended; a driver does, and launchers complain of a status that is not 0
    status = 1 if arguments.party and not agent.is_dismissed else 0
    if status:
        print(f"scoop-hpc: error: {agent.lost_driver()}", file=sys.stderr, flush=True)
    os._exit(status)  # all is closed; what the interpreter does at its end takes 30 ms, for which the driver would wait


def _end_leftover(agent: Agent, environ: Mapping[str, str], signals: SignalFd) -> None:
    """End what the scheduler keeps of the job of *environ*, if it has lost the node of its script."""
    from scoop_hpc.jobs.commands import run_command  # noqa: PLC0415
    from scoop_hpc.jobs.leftover import end_leftover  # noqa: PLC0415  rarely needed, and an agent has to start fast

    def pause(seconds: float) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            select.select([signals.fileno()], [], [], left)
            if signal.SIGTERM in signals.take():
                return False
        return True

    end_leftover(environ, agent.nodes(), run_command, pause, agent.tell_of_lost_driver, not agent.is_dismissed)


def _node(arguments: argparse.Namespace) -> str:
    if arguments.node_of_host:
        return socket.gethostname()
    return str(arguments.node or os.environ[arguments.node_variable])


def _own_addresses(interface: str, driver: str) -> Sequence[str]:
    from scoop_hpc.transport import addresses  # noqa: PLC0415  psutil takes 15 ms, and one machine does not need it

    return addresses.preferred(addresses.own_addresses(interface), addresses.route_to(sockets.host_of(driver)))


def _broker(options: WorkerOptions, once: Once, welcome: Welcome, entrance: Entrance, addresses: Sequence[str]) -> Main:
    node = welcome.nodes[welcome.node]

    def serve(last_word: LastWord) -> int:
        # in the broker's own process: the agent forks the workers meanwhile
        from scoop_hpc.broker.policy import Policy  # noqa: PLC0415
        from scoop_hpc.broker.server import BrokerPlan, BrokerServer  # noqa: PLC0415

        at, listening, curve = entrance.endpoint, entrance.listening, welcome.curve
        plan = BrokerPlan(welcome.node, welcome.workers, at, listening, curve, tuple(addresses))
        observers = worker_options.run_observers(options, node, f"broker {broker_name(welcome.node)}", once)
        with trace_to(options, observers, last_word.trace, broker_track(welcome.node, node)):
            server = BrokerServer(plan, Policy(broken=welcome.grace), observers)
            try:
                server.serve()
            finally:
                server.close()
        return 0

    return serve


def _worker(
    options: WorkerOptions,
    once: Once,
    granted: Granted,
    welcome: Welcome,
    entrance: Entrance,
    name: WorkerName,
    local_rank: int,
) -> Main:
    plan = WorkerPlan(name, welcome.size, entrance.endpoint, welcome.program, welcome.pool)
    if welcome.pool is None:
        alias.install("scoop", "scoop_hpc.compat")  # for the programs that were written for SCOOP
    node = welcome.nodes[welcome.node]
    place = Place(name, node, welcome.nodes.index(node), welcome.first_rank + local_rank, local_rank, welcome.ranks)
    if welcome.directory:  # all nodes of the run are this machine
        share = deal_shares(granted, worker_options.wanted(options), welcome.ranks)[place.rank]
    else:
        share = deal_shares(granted, worker_options.wanted(options), welcome.workers)[local_rank]
    if name == ORIGIN and not welcome.is_alone():  # beside the workers, whose shares are the whole node
        share = Share(gpus=share.gpus)

    def work(last_word: LastWord) -> int:
        os.environ.update(variables_of(place, share, granted, os.environ, options.counted))
        if share.cpus is not None:
            _bind(share.cpus.cpus, f"worker {name} on {node}")
        observers = worker_options.run_observers(options, node, f"worker {name}", once)  # in the agent's place
        track = worker_track(welcome.node, node, name, welcome.size, is_origin=name == ORIGIN)
        with trace_to(options, observers, last_word.trace, track):
            work = functools.partial(worker_main.main, plan, last_word, observers)
            return worker_options.keeping(options, name, node, work, once)()

    return work


def _bind(cpus: Sequence[int], who: str) -> None:
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:  # a scheduler has taken some of them away since the agent has begun
        sys.exit(f"scoop-hpc: error: {who} cannot be bound to the CPUs {', '.join(map(str, cpus))}: {error.strerror}")
