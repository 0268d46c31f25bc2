"""`python -m provisioning COMMAND` with LOGSTACK_ENV set: started by `logstack hosts`."""

from __future__ import annotations

import gevent.monkey

from provisioning import refuse_as_deploy

refuse_as_deploy(__name__)
gevent.monkey.patch_all()

from provisioning.command import main  # noqa: E402 -- the patches have to come first

if __name__ == "__main__":
    main()
