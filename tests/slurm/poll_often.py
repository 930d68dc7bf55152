"""
Snakemake's command line, which asks a scheduler every two seconds what its jobs do.

SLURM's executor waits ten seconds longer each time that none has ended, which is right for a cluster and slow for a test.
"""

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 2, lambda self, value: None)

if __name__ == "__main__":
    main()
