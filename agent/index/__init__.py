"""An index of the repository in a sandbox: its sources as they are now, their symbols, and a search by words.

It runs on our side, so a sandbox needs no more than find, sha1sum and tar. What was read and parsed once is kept by
content for all attempts of this process, and a file that an attempt has changed is read again. The libraries behind it
(the extra `tools`) are imported when they are used.
"""
