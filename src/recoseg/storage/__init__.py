"""Files on disk: safe names, bounded reads, complete writes, locks, checksums, fields of JSON."""
