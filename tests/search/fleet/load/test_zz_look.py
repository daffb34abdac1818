import os, sys, json, subprocess, time, re, signal, threading
import numpy as np
from tests.tiny_model import tiny_model
from tests.search.fleet.conftest import *
from tests.search.fleet.load.test_clients import _start
from servefit.profiler.machine.slot.holding import measuring_slot
def go(env, *args):
    return subprocess.Popen([sys.executable,"-m","servefit","load",*map(str,args)],env=env,stdout=subprocess.PIPE,stderr=subprocess.PIPE,text=True)
def say(p, label):
    o,e=p.communicate(timeout=150); print("==",label,p.returncode)
    try:
        d=json.loads(o); print(d["verdict"],d["reason"],"thr",d["throughput_per_s"],"lat",d["latency_ms"],"ov",d["overlap"]); 
        for c in d["clients"]: print("  ",c["host"],c["lost"], c.get("clock_within_s"),c.get("late_s"), c.get("protocol"), c.get("payload"), c.get("began_at"), c.get("summary",{}).get("samples"))
    except Exception: print(o)
    print(e[-600:])
def test_look(start_client, environment, endpoint, payload, tmp_path, cable, fleet_url, postgresql, monkeypatch):
    a=start_client("client-a"); b=start_client("client-b", url=through(cable, fleet_url))
    model=tiny_model(tmp_path/"model.ubj")
    sv=subprocess.Popen([sys.executable,"-m","servefit","serve","--model",str(model),"--profile","local-1c","--name","x","--port","0","--quiet"],env=environment,stdout=subprocess.PIPE,text=True)
    url=re.search(r"http://127\.0\.0\.1:\d+", sv.stdout.readline())[0]
    J=("--from","client-*","--allow-noise","--quiet","--format","json","--rate","300/s","--duration","2s")
    say(go(environment,url,*J),"servefit endpoint, random rows")
    rows_=np.random.default_rng(1).random((200000,4),dtype=np.float32)
    np.save(tmp_path/"big.npy", rows_)
    say(go(environment,url,"--payload",tmp_path/"big.npy",*J),"servefit endpoint, 3.2 MB npy")
    docs=tmp_path/"docs.json"; docs.write_text(json.dumps([{"x":1},{"x":2}]))
    say(go(environment,endpoint.url,"--payload",docs,"--protocol","json",*J),"documents")
    p=go(environment,url,*J[:-1],"6s"); t=_start(fleet_url); time.sleep(t-time.time()+1); cable.cut(); time.sleep(8); cable.mend(); say(p,"cable out 8 s in mid-run")
    p=go(environment,url,*J[:-1],"4s"); t=_start(fleet_url); cable.cut(); time.sleep(3); cable.mend(); say(p,"cable out at the start (may have heard)")
    p=go(environment,url,*J[:-1],"4s"); t=_start(fleet_url); time.sleep(t-time.time()+1); postgresql.stop(); time.sleep(3); postgresql.start(); say(p,"database restarted mid-run")
    monkeypatch.setenv("SERVEFIT_SLOT", str(tmp_path/"slot-client-b"))
    with measuring_slot("profile of somebody"):
        p=go(environment,url,*J); time.sleep(6)
    say(p,"slot busy 6 s")
    monkeypatch.delenv("SERVEFIT_SLOT")
    sv.send_signal(signal.SIGSTOP)
    p=go(environment,url,*J,"--timeout","2s"); say(p,"endpoint hangs"); sv.send_signal(signal.SIGCONT)
    p=go(environment,url,*J[:-1],"4s"); t=_start(fleet_url); time.sleep(t-time.time()+1); sv.kill(); say(p,"endpoint dies in mid-run")
    sv.wait(); print(a.said()[-1500:]); print(b.said()[-1500:])
    print(rows(fleet_url,"select token,state,host from servefit_orders"), rows(fleet_url,"select * from servefit_starts"))
