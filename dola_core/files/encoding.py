"""Read text whose encoding its first bytes tell: UTF-8, or UTF-16 as spreadsheets and shells write it."""

import codecs

MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""(byte order mark, encoding) of the encodings that are told by their mark."""


def decode_text(data: bytes, encoding: str = "utf-8") -> str:
    r"""The text of `data`, without a byte order mark and with "\n" for every end of a line.

    `encoding` is that of bytes without a mark. A NUL among the first two bytes tells UTF-16 without one: no text file
    begins with that character. Raises `UnicodeDecodeError`, whose `start` counts from the first byte of `data`.
    """
    mark = b""
    for known, name in MARKS:
        if data.startswith(known):
            mark, encoding = known, name
            break
    else:
        if len(data) >= 2 and 0 in data[:2]:
            encoding = "utf-16-le" if data[1] == 0 else "utf-16-be"
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        offset = len(mark)
        raise UnicodeDecodeError(
            error.encoding, data, error.start + offset, error.end + offset, error.reason
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
