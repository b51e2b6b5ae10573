"""Reads untrusted Parquet files in memory and time that are bounded by the size of the file."""

from collections.abc import Iterator
from typing import Any, BinaryIO

_MAX_UNPACKED_BYTES = 2**28
_MAX_VALUES = 2**24
_MAX_RATIO = 200
"""Compressed images and random numbers rarely unpack to more than ten times their size."""
_BATCH = 64


def read_parquet(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """The rows in order; images stay the stored `bytes` and `path`, whatever type the file claims.

    Raises a `ValueError` if the file declares that it unpacks to more than 256 MiB and 200 times its size, or that it
    has more than 16 million values and 200 for each of its bytes, and if the lists of strings of one row exceed
    256 MiB.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install pyarrow") from error
    num_bytes = file.seek(0, 2)
    file.seek(0)
    with parquet.ParquetFile(file) as head:
        _refuse_bombs(head.metadata, num_bytes)
        columns = [head.schema.column(number) for number in range(len(head.schema))]
        # A string that a million rows share is stored once and read once.
        texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
        has_lists = any(column.max_repetition_level for column in columns if column.path in texts)
        metadata = head.metadata
        with parquet.ParquetFile(file, metadata=metadata, read_dictionary=texts) as table:
            for batch in table.iter_batches(batch_size=_BATCH):
                for number in range(batch.num_rows):
                    row = batch.slice(number, 1)
                    if has_lists and sum(map(_text_bytes, row.columns)) > _MAX_UNPACKED_BYTES:
                        raise ValueError(f"the texts of a row have more than {_MAX_UNPACKED_BYTES} bytes")
                    yield row.to_pylist()[0]


def _refuse_bombs(metadata: Any, num_bytes: int) -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [(group.column(number), number) for group in groups for number in range(group.num_columns)]
    stored = sum(column.total_uncompressed_size for column, _ in columns)
    # Values of fixed length may also be stored once, but every occurrence is read.
    fixed = sum(column.num_values * metadata.schema.column(number).length for column, number in columns)
    if max(stored, fixed) > max(_MAX_UNPACKED_BYTES, _MAX_RATIO * num_bytes):
        raise ValueError(f"it unpacks to more than {_MAX_RATIO} times its size; rewrite it if you trust it")
    if sum(column.num_values for column, _ in columns) > max(_MAX_VALUES, _MAX_RATIO * num_bytes):
        raise ValueError(f"it has more than {_MAX_RATIO} values for each of its bytes; rewrite it if you trust it")


def _text_bytes(array: Any) -> int:
    """Bytes of all strings in an array, at any depth; a string counts as often as it occurs."""
    import pyarrow
    import pyarrow.compute

    if isinstance(array, pyarrow.DictionaryArray):
        lengths = pyarrow.compute.binary_length(array.dictionary)
        return pyarrow.compute.sum(pyarrow.compute.cast(lengths.take(array.indices), "int64")).as_py() or 0
    if isinstance(array, pyarrow.StructArray):
        return sum(map(_text_bytes, array.flatten()))
    if isinstance(array, pyarrow.MapArray):
        first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return sum(_text_bytes(part[first:last]) for part in (array.keys, array.items))
    if isinstance(array, pyarrow.ListArray | pyarrow.LargeListArray | pyarrow.FixedSizeListArray):
        return _text_bytes(array.flatten())
    return 0
