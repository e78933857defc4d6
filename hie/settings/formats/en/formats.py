"""Instants as RFC 3339 without the T: sortable by eye, and plainly UTC."""

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "Y-m-d H:i:s\\Z"
SHORT_DATE_FORMAT = "Y-m-d"
SHORT_DATETIME_FORMAT = "Y-m-d H:i\\Z"
TIME_FORMAT = "H:i:s\\Z"
