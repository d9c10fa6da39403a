"""The live page of `scoop-hpc web`: what a running job does, in a browser on this machine.

::

    run's snapshots --> Collector --> History ----+
                    once a second                 v
    browser <--HTTP on 127.0.0.1--> waitress --> Site --> page/index.html, live.css, live.js
                                                  ^       snapshot.json, logs.json
    the job's output files --> search ------------+

`site` decides what a request is answered, `history` what is kept of the snapshots; `server` is the shell around them.
"""
