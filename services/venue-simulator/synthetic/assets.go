package synthetic

import (
	"fmt"
	"strings"
)

// asset is what a market is about: one price, quoted at several venues.
type asset struct {
	name  string
	price float64 // at the start, in dollars
}

// knownAssets are in the order of their activity; the prices are round figures that only have to be of a likely size,
// because number widths depend on them.
const knownAssets = `BTC:61837 ETH:2683 SOL:152 XRP:0.61 DOGE:0.104 BNB:512 ADA:0.34 AVAX:22.1 LINK:10.4 TRX:0.128
SUI:0.92 TON:6.4 SHIB:0.0000139 DOT:4.7 BCH:331 NEAR:4.1 LTC:60.2 UNI:6.1 PEPE:0.0000079 APT:6.2
ICP:7.9 ETC:19.4 FET:0.93 XLM:0.1 STX:1.55 FIL:3.8 ARB:0.58 OP:1.44 INJ:19.2 ATOM:4.6
IMX:1.18 HBAR:0.055 WIF:1.7 RENDER:4.9 AAVE:98 GRT:0.15 MKR:2010 TIA:5.3 SEI:0.29 FTM:0.36
RUNE:3.6 THETA:1.2 ALGO:0.12 FLOKI:0.00012 BONK:0.0000197 JUP:0.8 LDO:1.05 PYTH:0.28 QNT:69 FLOW:0.55
GALA:0.018 ENA:0.33 EGLD:27 AXS:4.6 SAND:0.26 MANA:0.27 CHZ:0.055 XTZ:0.67 EOS:0.47 NEO:9.6
KAVA:0.29 SNX:1.36 ZEC:36 DYDX:1.05 CFX:0.13 WLD:1.62 ROSE:0.057 ORDI:28 STRK:0.4 CRV:0.27
APE:0.67 GMX:23 COMP:43 PENDLE:2.7 BLUR:0.17 MINA:0.42 ZIL:0.014 ENJ:0.13 LPT:12.4 IOTA:0.13
KSM:19.1 JASMY:0.021 DASH:25 CAKE:1.7 ONE:0.0116 ANKR:0.024 WOO:0.15 GAS:3.6 HOT:0.0015 RVN:0.016
CELO:0.45 SUSHI:0.6 BAT:0.15 YFI:4890 QTUM:2.2 ICX:0.13 IOST:0.0052 ONT:0.19 SC:0.0041 STORJ:0.36
ZRX:0.31 LRC:0.13 BAND:1.1 SKL:0.037 NMR:13.1 NU:0.045 UMA:1.9 BAL:1.8 KNC:0.41 RSR:0.0045
CTSI:0.13 OCEAN:0.45 COTI:0.078 CELR:0.0117 DENT:0.00078 CVC:0.094 STMX:0.0049 MTL:0.9 OGN:0.085 PERP:0.49
RLC:1.5 REEF:0.0011 ALICE:0.87 TLM:0.0094 DUSK:0.16 SXP:0.22 LINA:0.0031 CHR:0.17 BEL:0.46 CTK:0.53
ARPA:0.034 C98:0.13 MASK:2.1 ATA:0.086 HIGH:1.2 PEOPLE:0.062 ENS:16.4 LIT:0.6 MAGIC:0.29 T:0.019
HOOK:0.36 SSV:17.7 AGIX:0.46 RDNT:0.068 LQTY:0.72 ID:0.35 EDU:0.5 MAV:0.15 XVS:6.5 CYBER:2.9
ARKM:0.93 TUSDX:1.01 NTRN:0.36 CAKEX:1.6 MEME:0.0093 TOKEN:0.044 BIGTIME:0.09 BOND:1.6 ILV:55 KAS:0.16
BSV:44 POLYX:0.23 SLP:0.0025 BICO:0.31 JOE:0.31 PHB:1.1 AMB:0.0065 LEVER:0.0016 TRU:0.08 STG:0.26
SPELL:0.00055 GLMR:0.18 API3:1.5 GMT:0.12 HFT:0.14 XEM:0.016 ACH:0.018 FXS:1.9 LOOM:0.042 USTC:0.017
LUNA2:0.33 ALPHA:0.056 BAKE:0.2 DEFI:512 FOOTBALL:301 AUDIO:0.12 RAY:1.6 DODO:0.1 TWT:0.93 UNFI:3.1
VET:0.022 WAVES:1.01 ZEN:7.5 DCR:11.3 RIF:0.085 POWR:0.17 SUN:0.0125 STEEM:0.16 HIVE:0.18 GLM:0.28
SYS:0.088 FUN:0.0034 DIA:0.37 AVA:0.4 WAXP:0.033 GHST:0.92 TRB:62 ORN:0.93 VTHO:0.0006 REQ:0.098`

// assets returns the first n; beyond those that have a name, numbered ones.
func assets(n int) []asset {
	var list []asset
	for word := range strings.FieldsSeq(knownAssets) {
		if len(list) == n {
			return list
		}
		var a asset
		name, price, _ := strings.Cut(word, ":")
		a.name = name
		if _, err := fmt.Sscan(price, &a.price); err != nil {
			panic("BUG: " + word + " in the list of assets: " + err.Error())
		}
		list = append(list, a)
	}
	for i := len(list); i < n; i++ {
		list = append(list, asset{name: fmt.Sprintf("SIM%04d", i), price: 1 + float64(i%97)/10})
	}
	return list
}
