/*
 * members - the names and the order of a bundle's members: shared by the carrier, which reads
 * them, and the host's tools, which write them.
 *
 *	manifest.json manifest.p7s CLASS.index... CLASS.store... CLASS.data...
 *
 * A pax tar, nothing compressed, no other members, classes in the manifest's order throughout.
 */
#ifndef ABIDE_UPDATER_CARRIER_MEMBERS_H
#define ABIDE_UPDATER_CARRIER_MEMBERS_H

#define MEMBER_MANIFEST     "manifest.json"
#define MEMBER_SIGNATURE    "manifest.p7s"
#define MEMBER_INDEX_SUFFIX ".index"
#define MEMBER_STORE_SUFFIX ".store"
#define MEMBER_DATA_SUFFIX  ".data"

#endif
