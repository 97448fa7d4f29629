"""The acceptance stories, told on a running embedded stack: each puts something in and checks what comes out.

Reading order: `expectation` (what a story claims), `session` (the clients a story uses), one file per story, `stories`.
"""
