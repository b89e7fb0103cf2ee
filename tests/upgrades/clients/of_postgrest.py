"""postgrest, which supabase is built on."""

from calls import run
from postgrest import SyncPostgrestClient


def make(url):
    client = SyncPostgrestClient(url, headers={"apikey": "k", "Authorization": "Bearer k"})
    return {
        "select": lambda: client.from_("rows").select("id,name").eq("id", "1").execute().data,
        "one": lambda: client.from_("rows").select("*").eq("id", "1").single().execute().data,
        "insert": lambda: client.from_("rows").insert({"name": "ä"}).execute().data,
        "call": lambda: client.rpc("add", {"a": 1, "b": 2}).execute().data,
    }


run(make)
