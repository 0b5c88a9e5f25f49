"""The workbench: the page on which people correct, review, adjudicate and audit, made for the keyboard.

    server      the application, its middleware and its pages; `people` and `sessions` say who is there
    desk        what the pages act on: the event store, the items, and the board that follows the log
    draft       what a person is about to submit, as pure operations; `form` and `answers` draw and read its arguments
    rules       the numbered reasons for which a request is refused

Nothing here decides what is allowed: the state machine and the store do. The page only asks earlier.
"""
