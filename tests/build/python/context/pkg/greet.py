def text(words):
    return " ".join(words)
