"""A WsgiDAV share of the site's folder."""

from wsgidav.wsgidav_app import WsgiDAVApp

from tests.servers import files

app = WsgiDAVApp(
    {
        "provider_mapping": {"/": str(files.FOLDER)},
        "simple_dc": {"user_mapping": {"*": True}},
        "verbose": 1,
    }
)
