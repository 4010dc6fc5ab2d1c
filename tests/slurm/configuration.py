"""The files that configure a Slurm of virtual nodes on one machine, all of it on loopback and below one folder."""

import socket
from dataclasses import dataclass
from pathlib import Path

GPUS = 2  # of a GPU node


@dataclass(frozen=True)
class Configuration:
    """A cluster in `folder` that listens on `port` and the ports after it.

    Nodes share the processors and the memory of the machine: what they claim is only booked. A GPU is a link to
    the null device: Slurm counts it, gives it to one job at a time and sets CUDA_VISIBLE_DEVICES.
    """

    folder: Path
    port: int
    accounting: bool = False
    cpu_nodes: tuple[str, ...] = ("c1", "c2")
    gpu_nodes: tuple[str, ...] = ("g1", "g2")

    @property
    def nodes(self) -> tuple[str, ...]:
        return self.cpu_nodes + self.gpu_nodes

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge.socket"

    @property
    def database_socket(self) -> Path:
        return self.folder / "mariadb.socket"

    def ports(self) -> list[int]:
        """Of the controller, of the accounting, and of each node."""
        return [self.port + i for i in range(2 + len(self.nodes))]

    def files(self) -> dict[str, str]:
        """Contents by name."""
        files = {"slurm.conf": self._slurm(), "gres.conf": self._gres()}
        return files | {"slurmdbd.conf": self._slurmdbd()} if self.accounting else files

    def _slurm(self) -> str:
        host = socket.gethostname().partition(".")[0]
        lines = [
            "ClusterName=test",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={self.port}",
            # A training on several nodes takes the port 20000 + the job's id; clusters side by side share no ids.
            f"FirstJobId={self.ports()[-1] + 1 - 20000}",
            "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",
            "SlurmUser=root",
            # A job that is requeued waits as long as a credential lasts, 120 s by default.
            f"AuthInfo=socket={self.munge_socket},cred_expire=15",
            f"StateSaveLocation={self.folder}/state",
            f"SlurmdSpoolDir={self.folder}/spool-%n",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid",
            f"SlurmdPidFile={self.folder}/slurmd-%n.pid",
            # No control groups, which a container may not have.
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "JobAcctGatherType=jobacct_gather/linux",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU_Memory",
            "SlurmdParameters=config_overrides",
            "GresTypes=gpu",
            "EnforcePartLimits=ALL",
            "PreemptType=preempt/partition_prio",
            "PreemptMode=REQUEUE",
            "SchedulerParameters=bf_interval=2,sched_interval=2",
            # Within how many seconds a dead node is noticed.
            "SlurmdTimeout=15",
            "ReturnToService=2",
        ]
        if self.accounting:
            lines += [
                "AccountingStorageType=accounting_storage/slurmdbd",
                "AccountingStorageHost=127.0.0.1",
                f"AccountingStoragePort={self.port + 1}",
                f"AccountingStoragePass={self.munge_socket}",
                "AccountingStoreFlags=job_comment",
            ]
        for name, port in zip(self.nodes, self.ports()[2:]):
            gpus = f" Gres=gpu:fake:{GPUS}" if name in self.gpu_nodes else ""
            lines.append(
                f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=8000{gpus}"
            )
        cpu = ",".join(self.cpu_nodes)
        lines += [
            f"PartitionName=cpu Nodes={cpu} Default=YES PriorityTier=1",
            f"PartitionName=urgent Nodes={cpu} PriorityTier=2 PreemptMode=OFF",
            f"PartitionName=gpu Nodes={','.join(self.gpu_nodes)}",
        ]
        return "\n".join(lines) + "\n"

    def _gres(self) -> str:
        lines = [f"NodeName={name} Name=gpu Type=fake File={self.folder}/gpu[0-{GPUS - 1}]" for name in self.gpu_nodes]
        return "\n".join(["AutoDetect=off", *lines]) + "\n"

    def _slurmdbd(self) -> str:
        return f"""DbdHost={socket.gethostname().partition(".")[0]}
DbdAddr=127.0.0.1
DbdPort={self.port + 1}
SlurmUser=root
AuthInfo=socket={self.munge_socket}
CommunicationParameters=NoInAddrAny
PidFile={self.folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
"""
