"""The only file that functions-framework loads; everything else follows from AURICLE_FUNCTION."""

from auricle.runtime.bind import bind

handle = bind()
