"""What a person is told when a turn fails for good: nobody waits in silence."""

APOLOGY = {
    "es": "Lo siento, ahora mismo no puedo responder: algo falló de nuestro lado. Ya avisé al equipo.",
    "en": "Sorry, I cannot answer right now: something failed on our side. I have told the team.",
    "pt": "Desculpe, não consigo responder agora: algo falhou do nosso lado. Já avisei a equipe.",
    "fr": "Désolé, je ne peux pas répondre pour l’instant : un problème est survenu chez nous. L’équipe est prévenue.",
}


def apology(language: str | None) -> str:
    """The words for it, in a language or in English."""
    return APOLOGY.get(language or "", APOLOGY["en"])
