"""Why Pillow does not open a file: its format needs a decoder, or is not read at all."""

from __future__ import annotations

from recoseg.photos.raw import is_tiff, tiff_kind

_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")  # brands of its files
_AVIF = (b"avif", b"avis")
_RAW = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb")  # of RAF, ORF, RW2, X3F
_RAW_BRAND = b"crx "  # of CR3

_FILM_BRANDS = (b"iso", b"mp4", b"avc1", b"M4V", b"qt  ", b"3g", b"mj", b"dash", b"MSNV", b"XAVC")
"""How the brands of MP4, QuickTime and their like begin."""
_FILMS = (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\0\0\x01\xba", b"0&\xb2u\x8ef\xcf\x11")
"""How Matroska and WebM, FLV, MPEG and ASF begin."""
_FILM_BOXES = (b"moov", b"mdat", b"wide")
"""The first boxes of old QuickTime, which names no brand."""

JXL_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
"""How files of JPEG XL begin: without and with a container."""


def missing_decoder(data: bytes) -> str:
    """Which decoder a photo needs that Pillow does not know; empty if it needs none."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in _HEIF:
        return "a HEIC photo, which the extra `heif` reads: pip install 'recoseg[heif]'"
    if data.startswith(JXL_STARTS):
        return "a JPEG XL photo, which the extra `jxl` reads: pip install 'recoseg[jxl]'"
    if brand in _AVIF:
        return (
            "an AVIF photo, which this build of Pillow does not read: "
            "pip install --force-reinstall pillow"
        )
    return ""


def unread_kind(data: bytes) -> str:
    """The reason why a file that Pillow does not know, or cannot decode, is not read."""
    if data.startswith(_RAW) or (data[4:8] == b"ftyp" and data[8:12] == _RAW_BRAND):
        return "a raw photo of a camera, which is not read; export it as JPEG or PNG"
    if _is_film(data):
        return "a film, not a photo; films are segmented by `recoseg segment --video`"
    return (tiff_kind(data) if is_tiff(data) else "") or "not an image of a known format"


def _is_film(data: bytes) -> bool:
    has_brand = data[4:8] == b"ftyp" and data[8:12].startswith(_FILM_BRANDS)
    is_avi = data[:4] == b"RIFF" and data[8:12] == b"AVI "
    return has_brand or is_avi or data.startswith(_FILMS) or data[4:8] in _FILM_BOXES
