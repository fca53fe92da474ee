"""A telephone made of PJSIP, told what to do line by line.

Arguments are NAME=VALUE: address (IP:PORT), user, folder (log and heard.wav are written there), say (a WAV file),
wire (udp, tcp or tls), proxy (a SIP URI), prack (0, 1 required, 2 offered), timer (0, 1 offered, 2 required, 3 always),
expires (seconds of a session), authority (a PEM file, for tls).

Lines read: "call URI", "keys DIGITS", "hold", "unhold", "update", "hangup", "quit".
Lines written: "ready", "state NAME STATUS", "sound STATUS", "done METHOD STATUS", "error TEXT".
"""

import select
import sys

import pjsua2 as pj

settings = dict(word.split("=", 1) for word in sys.argv[1:])
ip, port = settings["address"].rsplit(":", 1)


def tell(*words):
    print(*words, flush=True)


class Call(pj.Call):
    """One call: its sound is recorded from the moment it runs."""

    def onCallState(self, prm):
        info = self.getInfo()
        tell("state", info.stateText, info.lastStatusCode)

    def onCallTsxState(self, prm):
        transaction = prm.e.body.tsxState.tsx
        if transaction.state == pj.PJSIP_TSX_STATE_COMPLETED:
            tell("done", transaction.method, transaction.statusCode)

    def onCallMediaState(self, prm):
        info = self.getInfo()  # owns what its media point at
        for index, media in enumerate(info.media):
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            tell("sound", media.status)
            if media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                sound = self.getAudioMedia(index)
                player.startTransmit(sound)
                sound.startTransmit(recorder)


endpoint = pj.Endpoint()
endpoint.libCreate()
config = pj.EpConfig()
config.uaConfig.threadCnt = 0
config.uaConfig.mainThreadOnly = True
config.uaConfig.userAgent = "PJSIP"
config.logConfig.level = 5
config.logConfig.consoleLevel = 0
config.logConfig.filename = settings["folder"] + "/log"
config.medConfig.clockRate = 8000
config.medConfig.sndClockRate = 8000
config.medConfig.noVad = True
config.medConfig.ecTailLen = 0
endpoint.libInit(config)

transport = pj.TransportConfig()
transport.port = int(port)
transport.boundAddress = ip
transport.publicAddress = ip
kinds = {
    "udp": pj.PJSIP_TRANSPORT_UDP,
    "tcp": pj.PJSIP_TRANSPORT_TCP,
    "tls": pj.PJSIP_TRANSPORT_TLS,
}
wire = settings.get("wire", "udp")
if wire == "tls":
    transport.tlsConfig.CaListFile = settings["authority"]
    transport.tlsConfig.verifyServer = True
identity = endpoint.transportCreate(kinds[wire], transport)
endpoint.libStart()
endpoint.audDevManager().setNullDev()
for codec in endpoint.codecEnum2():
    endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMU/") else 0)

player = pj.AudioMediaPlayer()
player.createPlayer(settings["say"])
recorder = pj.AudioMediaRecorder()
recorder.createRecorder(settings["folder"] + "/heard.wav")

account_config = pj.AccountConfig()
account_config.idUri = f"sip:{settings['user']}@{ip}"
account_config.regConfig.registerOnAdd = False
account_config.sipConfig.transportId = identity
account_config.mediaConfig.transportConfig.boundAddress = ip
account_config.mediaConfig.transportConfig.publicAddress = ip
account_config.callConfig.prackUse = int(settings.get("prack", "0"))
account_config.callConfig.timerUse = int(settings.get("timer", "1"))
account_config.callConfig.timerMinSESec = 90
account_config.callConfig.timerSessExpiresSec = int(settings.get("expires", "1800"))
if "proxy" in settings:
    account_config.sipConfig.proxies.append(settings["proxy"])
account = pj.Account()
account.create(account_config)

call = None


def obey(line):
    """Does what a line says; False when it is over."""
    global call
    word, _, rest = line.strip().partition(" ")
    if word == "call":
        call = Call(account)
        call.makeCall(rest, pj.CallOpParam(True))
    elif word == "keys":
        call.dialDtmf(rest)
    elif word == "hold":
        call.setHold(pj.CallOpParam())
    elif word in ("unhold", "update"):
        prm = pj.CallOpParam(True)
        if word == "unhold":
            prm.opt.flag = pj.PJSUA_CALL_UNHOLD
            call.reinvite(prm)
        else:
            call.update(prm)
    elif word == "hangup":
        call.hangup(pj.CallOpParam())
    else:
        return False
    return True


tell("ready")
going = True
while going:
    endpoint.libHandleEvents(10)
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    if readable:
        line = sys.stdin.readline()
        try:
            going = bool(line) and obey(line)
        except pj.Error as error:
            tell("error", error.info().replace("\n", " "))
for _ in range(50):
    endpoint.libHandleEvents(10)
call = None
account.shutdown()
del player, recorder
endpoint.libDestroy()
