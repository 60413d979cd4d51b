"""One track's frames, whatever its bytes hold: damaged packets are skipped and counted, and a broken end is an end."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from auricle.adapters.media.container import DAMAGED, ENCRYPTED, Source
from auricle.errors import Permanent

_HOPELESS = 1000
"""Packets in a row at the very beginning, none of them decodable (twenty seconds or more), after which nobody need read on."""


class Decoding:
    """Decodes one track and remembers what went wrong."""

    def __init__(self, container: InputContainer, stream: AudioStream, source: Source) -> None:
        self._container = container
        self._stream = stream
        self._source = source
        self._bad_in_a_row = 0
        self._decoded = False
        self.damaged = 0
        """Places that could not be decoded: runs of damaged packets."""
        self.cut_short = False
        """Whether reading ended with an error instead of an end."""

    @property
    def ends_damaged(self) -> bool:
        """Whether the last packet could not be decoded."""
        return self._bad_in_a_row > 0

    def frames(self) -> Iterator[av.AudioFrame]:
        """The frames with sound in them. `Permanent` when there are none because they are encrypted or damaged."""
        for packet in self._packets():
            if not self._decoded and packet.has_sidedata("encryption_info"):
                raise Permanent(ENCRYPTED)
            for frame in self._decode(packet):
                if frame.samples > 0 and frame.sample_rate > 0 and frame.layout.nb_channels > 0:
                    self._bad_in_a_row = 0
                    self._decoded = True
                    yield frame
        self._source.check()
        if not self._decoded:
            raise Permanent(DAMAGED)

    def _packets(self) -> Iterator[av.Packet[AudioStream]]:
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError:
            self._source.check()
            self.cut_short = True

    def _decode(self, packet: av.Packet[AudioStream]) -> list[av.AudioFrame]:
        try:
            return packet.decode()
        except av.FFmpegError as error:
            self.damaged += self._bad_in_a_row == 0
            self._bad_in_a_row += 1
            if not self._decoded and self._bad_in_a_row >= _HOPELESS:
                raise Permanent(DAMAGED) from error
            return []
