"""Other libraries' names, translated into ours.

    they call it                               here it is
    asgiref.sync.sync_to_async, SyncToAsync    `asgiadapt.sync_to_async`, as a class too, cancelled as there
    asgiref.sync.async_to_sync, AsyncToSync    `asgiadapt.async_to_sync`, as a class too
    asgiref.sync, the contexts and markers     the same names of `asgiadapt`
    asgiref.local.Local                        `asgiadapt.Local`
    asgiref.wsgi.WsgiToAsgi                    `asgiadapt.WsgiToAsgi`, with a limit for repeated headers
    asgiref.testing.ApplicationCommunicator    `asgiadapt.testing.ApplicationCommunicator`, for ASGI 2 too
    asgiref.typing                             `asgiadapt.typing`
    asgiref.server, timeout, compatibility,    written out here, since `asgiadapt` has nothing like them
      current_thread_executor
    a2wsgi.WSGIMiddleware                      `asgiadapt.WsgiToAsgi`
    a2wsgi.ASGIMiddleware                      `asgiadapt.AsgiToWsgi`

What is here stands on the public names of `asgiadapt`, and on what a call of a bridge is.
"""
