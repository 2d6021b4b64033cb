"""Conversations: one form for all formats, chat templates, labels on the answers alone, packing."""

from a2a_chat.formats import FORMATS, MODALITIES, canonical

__all__ = ["FORMATS", "MODALITIES", "canonical"]
