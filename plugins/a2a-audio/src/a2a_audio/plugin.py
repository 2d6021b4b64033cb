"""What this plugin offers."""

from collections.abc import Mapping

from a2a_core.hookspecs import hookimpl


@hookimpl
def a2a_encoders() -> Mapping[str, str]:
    """Encoders of sound."""
    return {"log-mel": "a2a_audio.log_mel:LogMelEncoder", "hf-audio": "a2a_audio.hf_audio:HfAudioEncoder"}
