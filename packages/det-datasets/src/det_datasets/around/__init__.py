"""Datasets around others: several as one, several images in one sample, and proposals from a file."""

from det_datasets.around.concat import ConcatDataset
from det_datasets.around.mixing import CopyPaste, Mosaic
from det_datasets.around.proposals import ProposalWriter, WithProposals, write_proposals

__all__ = ["ConcatDataset", "CopyPaste", "Mosaic", "ProposalWriter", "WithProposals", "write_proposals"]
