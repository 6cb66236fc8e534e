"""Which code made a result: what a run can execute, its hash, its text, and how it differs from the commit.

imports     what a file of the project imports, read from its text
identity    the files and libraries that one training or one evaluation can execute, and their hash
store       their text, kept once per home under its hash
commit      the git commit of the checkout, and which executed files differ from it
audit       which results of a study were made by other code than there is now
"""
