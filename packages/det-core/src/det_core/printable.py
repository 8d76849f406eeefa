"""Text from elsewhere on its way to a terminal, as det_safeload escapes and cuts it."""

from det_safeload.printable import described, printable, quoted, type_name

__all__ = ["described", "printable", "quoted", "type_name"]
