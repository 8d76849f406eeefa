"""Dataset wrappers: concatenation, mosaic, copy-paste, and precomputed proposals."""

from det_datasets.wrappers.concat import ConcatDataset
from det_datasets.wrappers.mixing import CopyPaste, Mosaic
from det_datasets.wrappers.proposals import ProposalWriter, WithProposals, write_proposals

__all__ = ["ConcatDataset", "CopyPaste", "Mosaic", "ProposalWriter", "WithProposals", "write_proposals"]
