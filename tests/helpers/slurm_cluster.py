"""A real SLURM of one node on this machine, from nothing in seconds: own configuration, keys, ports and state.

It needs root, the packages `slurm-wlm` and `munge`, and neither systemd nor cgroups. Everything listens on the loopback
interface only, lives in one folder, and dies with `stop`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

__all__ = ["NEEDED", "SlurmCluster", "running_cluster", "what_is_missing"]

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
_PATIENCE_S = 120.0
_CONFIG = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout={node_timeout_s}
InactiveLimit=0
KillWait=2
MinJobAge={remembers_s}
MessageTimeout=10
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={node_port} CPUs={cores} RealMemory={memory_mb}
PartitionName=main Nodes=node1 Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=100 OverSubscribe=NO
"""


def what_is_missing() -> str | None:
    """What keeps a cluster from being started here; None if nothing does."""
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root here, and this is another user"
    absent = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    return f"not installed: {', '.join(absent)} (Debian: slurm-wlm, munge)" if absent else None


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class SlurmCluster:
    """A cluster in a folder.

    Parameters
    ----------
    folder : empty, on a file system that takes sockets; its path is short (a socket's is at most 107 characters)
    cores, memory_mb : what the node claims to have; more cores than there are is fine, with tasks that sleep
    node_timeout_s : a node that is silent for so long is down, and its jobs have failed
    remembers_s : for so long the controller remembers a finished job (MinJobAge; it looks about twice a minute)
    """

    folder: Path
    cores: int = 16
    memory_mb: int = 8000
    node_timeout_s: int = 10
    remembers_s: int = 300
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration file, which SLURM's commands find by the variable SLURM_CONF."""
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of commands that talk to this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.config)}

    def start(self) -> Self:
        """Start the daemons and wait until the node takes jobs."""
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        (self.folder / "munge").chmod(0o711)
        self._write_config()
        self._start_munge()
        self.start_controller()
        self.start_node()
        return self

    def _write_config(self) -> None:
        text = _CONFIG.format(
            folder=self.folder,
            controller_port=_free_port(),
            node_port=_free_port(),
            cores=self.cores,
            memory_mb=self.memory_mb,
            node_timeout_s=self.node_timeout_s,
            remembers_s=self.remembers_s,
        )
        self.config.write_text(text, encoding="utf-8")

    def _start_munge(self) -> None:
        place = self.folder / "munge"
        key = place / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        arguments = ["--foreground", "--force", f"--key-file={key}", f"--socket={place}/socket"]
        arguments += [f"--pid-file={place}/pid", f"--log-file={place}/log", f"--seed-file={place}/seed"]
        self._start("munged", *arguments)
        self._wait_for("munged to listen", (place / "socket").exists)

    def start_controller(self, *, forget: bool = False) -> None:
        """Start `slurmctld` and wait for its answer. `forget` starts it as if it had never run: ids begin again."""
        if forget:
            shutil.rmtree(self.folder / "state")
            (self.folder / "state").mkdir(mode=0o700)
        self._start("slurmctld", "-D", "-i", "-f", str(self.config))
        self._wait_for("the controller to answer", lambda: self.run("scontrol", "ping").returncode == 0)

    def stop_controller(self) -> None:
        """End `slurmctld` as its administrator would; it saves its state."""
        self._stop("slurmctld", signal.SIGTERM)

    def freeze_controller(self) -> None:
        """Let `slurmctld` hang: it takes connections and answers nothing."""
        self._daemons["slurmctld"].send_signal(signal.SIGSTOP)

    def thaw_controller(self) -> None:
        """Let it go on."""
        self._daemons["slurmctld"].send_signal(signal.SIGCONT)

    def start_node(self) -> None:
        """Start `slurmd` and wait until the node takes jobs."""
        self._start("slurmd", "-D", "-c", "-N", "node1", "-f", str(self.config))
        if not self._node_is_up():
            self._wait_for("the node to register", self._node_is_up)

    def _node_is_up(self) -> bool:
        state = self.run("sinfo", "--noheader", "--format=%T").stdout.strip()
        if "down" in state:
            self.run("scontrol", "update", "NodeName=node1", "State=RESUME")
        return state in ("idle", "mixed", "allocated")

    def kill_node(self) -> None:
        """End the node as a power cut would: `slurmd`, the shepherds of its jobs, and the jobs."""
        self._stop("slurmd", signal.SIGKILL)
        self.kill_jobs()

    def kill_jobs(self) -> None:
        """SIGKILL to every process that has this cluster in its environment and was started by it."""
        mark = f"SLURM_CONF={self.config}".encode()
        for pid in _pids_with(b"SLURM_JOB_ID=", mark) | _pids_of_command("slurmstepd", str(self.folder)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of SLURM's commands against this cluster."""
        return subprocess.run(command, env=dict(self.environment), capture_output=True, text=True, timeout=_PATIENCE_S)

    def stop(self) -> None:
        """End everything that was started here."""
        for name in ("slurmctld", "slurmd"):
            if name in self._daemons:
                self._daemons[name].send_signal(signal.SIGCONT)
        self.kill_jobs()
        for name in ("slurmd", "slurmctld", "munged"):
            self._stop(name, signal.SIGKILL)
        self.kill_jobs()

    def _start(self, name: str, *arguments: str) -> None:
        self._stop(name, signal.SIGKILL)
        program = shutil.which(name, path=_path())
        assert program is not None, f"{name} is not installed"
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                [program, *arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _stop(self, name: str, number: signal.Signals) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.send_signal(number)
        try:
            daemon.wait(_PATIENCE_S)
        finally:
            daemon.kill()
            daemon.wait()

    def _wait_for(self, what: str, is_true: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not is_true():
            dead = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if dead or time.monotonic() > end:
                raise RuntimeError(f"waited in vain for {what}; {', '.join(dead) or 'nobody'} died\n{self._logs()}")
            time.sleep(0.1)

    def _logs(self) -> str:
        files = [path for pattern in ("*.out", "*.log", "munge/log") for path in sorted(self.folder.glob(pattern))]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in files)


def _processes() -> Iterator[Path]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            yield path


def _pids_with(*marks: bytes) -> set[int]:
    found = set()
    for path in _processes():
        try:
            variables = (path / "environ").read_bytes()
        except OSError:
            continue
        if all(mark in variables for mark in marks):
            found.add(int(path.name))
    return found


def _pids_of_command(name: str, of: str) -> set[int]:
    """Processes called so whose log, configuration or working directory lies in the folder `of`."""
    found = set()
    for path in _processes():
        try:
            is_named = (path / "comm").read_text().strip() == name
            opened = [str(link.readlink()) for link in (path / "fd").iterdir()] if is_named else []
        except OSError:
            continue
        if any(target.startswith(of) for target in opened):
            found.add(int(path.name))
    return found


@contextmanager
def running_cluster(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """A cluster that runs until the block is left."""
    try:
        yield cluster.start()
    finally:
        cluster.stop()


if __name__ == "__main__":
    # By hand: a shell that talks to a cluster of its own.
    import tempfile

    with tempfile.TemporaryDirectory() as place, running_cluster(SlurmCluster(Path(place))) as made:
        sys.exit(subprocess.run([os.environ.get("SHELL", "/bin/sh")], env=dict(made.environment)).returncode)
