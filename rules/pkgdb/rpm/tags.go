package rpm

// Tags of a header, by the names that rpm's documentation gives them, in their
// numbers' order.
const (
	tagImage      = 61 // a region of before rpm 4.0.2, never signed as one
	tagSignatures = 62 // the region of a signature header; not in a database
	tagImmutable  = 63 // the region that is signed

	// Merged in from the signature header when the package was installed.
	tagSigBase     = 256
	tagDSAHeader   = 267 // OpenPGP over the region; of every kind of key but RSA
	tagRSAHeader   = 268
	tagSHA1Header  = 269
	tagSHA256      = 273
	tagOpenPGP     = 278 // OpenPGP over the region, base64, several; rpm 6
	tagSHA3_256    = 279
	tagSigTop      = 999
	tagName        = 1000
	tagVersion     = 1001
	tagRelease     = 1002
	tagEpoch       = 1003
	tagInstallTime = 1008
	tagVendor      = 1011
	tagArch        = 1022

	tagOldFilenames  = 1027
	tagFileSizes     = 1028
	tagFileStates    = 1029
	tagFileModes     = 1030
	tagFileDigests   = 1035
	tagFileLinks     = 1036
	tagFileFlags     = 1037
	tagFileUsers     = 1039
	tagFileGroups    = 1040
	tagFileVerify    = 1045
	tagObsoletes     = 1090
	tagDirIndexes    = 1116
	tagBaseNames     = 1117
	tagDirNames      = 1118
	tagFileCaps      = 5010
	tagDigestAlgo    = 5011
	tagLongFileSizes = 5008
)

// content are the tags that say what a package is and holds. They count as
// signed in the region alone.
var content = [...]uint32{
	tagName, tagVersion, tagRelease, tagEpoch, tagVendor, tagArch, tagOldFilenames, tagFileSizes, tagFileModes, tagFileDigests, tagFileLinks,
	tagFileFlags, tagFileUsers, tagFileGroups, tagFileVerify, tagObsoletes, tagDirIndexes, tagBaseNames, tagDirNames, tagFileCaps, tagDigestAlgo, tagLongFileSizes,
}

// The types of values.
const (
	typeNull = iota
	typeChar
	typeInt8
	typeInt16
	typeInt32
	typeInt64
	typeString
	typeBin
	typeStrings
	typeI18n
)

// width is the size in bytes of one value, 0 where it follows from the bytes.
var width = [...]int{typeChar: 1, typeInt8: 1, typeInt16: 2, typeInt32: 4, typeInt64: 8, typeBin: 1, typeI18n: 0}
