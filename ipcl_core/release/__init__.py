"""
A release: finished networks of a study, in a folder that can be given to an archive or a model hub as it is.

    chosen       what may be given, and what must not
    sources      where data come from, and their licences, as far as they are known
    model_cards  a README.md for each network, and one for all
    croissant    metadata of the data sets
    make         the folder; `ipcl release`
    folder/      files that every release holds as they stand here
"""
