"""Makes ``twistd buffr``."""

from twisted.application.service import ServiceMaker

buffr = ServiceMaker(
    "buffr", "buffr.commands.tap", "A proxy that records and replays HTTP APIs.", "buffr"
)
