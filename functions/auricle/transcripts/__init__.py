"""Transcripts: what was said by whom; versions, joins, exports."""
