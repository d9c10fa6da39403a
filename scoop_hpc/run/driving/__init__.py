"""The machines that the driver's state is made of: joining, losses, the end; and the values that they share.

Each imports only those below it::

    launches      a command that could not start all agents, and ends the others, is started again
    witnesses     what tells of a lost agent: its connection, its launcher's command, broken links
    losses        the run goes on without a node or worker, or ends
    joining       agents are started, welcomed, told of each other
    life          the phase of the run, and its end
    relays        which agents relay for which
    membership    the nodes; broken_links: which of them a broken link costs
    actions, plan values
"""
