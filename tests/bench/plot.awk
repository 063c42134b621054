# Rows of install.sh as a plot (SVG): how long a full install of the ext4 image takes, a bar for each
# median, with a line from the fastest to the slowest round; the disk beside the tmpfs.

function sort(list, count,    i, j, value) {
	for (i = 2; i <= count; i++) {
		value = list[i]
		for (j = i - 1; j >= 1 && list[j] > value; j--)
			list[j + 1] = list[j]
		list[j + 1] = value
	}
}

function colour(name) {
	if (name ~ /^abide/)
		return "#2b6cb0"
	return name ~ /^(dd|zstd)/ ? "#8a9099" : "#c05621"
}

function text(x, y, anchor, size, fill, what) {
	printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\" fill=\"%s\">%s</text>\n", \
		x, y, anchor, size, fill, what
}

function panel(medium, left,    n, r, name, count, list, x, y, width, low, high, middle) {
	text(left, 62, "start", 14, "#444", "slot over " medium)
	for (n = 1; n <= named; n++) {
		name = names[n]
		count = runs[name, medium]
		if (!count)
			continue
		for (r = 1; r <= count; r++)
			list[r] = time[name, medium, r]
		sort(list, count)
		low = list[1] * scale
		high = list[count] * scale
		middle = list[int((count + 1) / 2)]
		y = 56 + n * 28
		width = middle * scale
		printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"16\" rx=\"2\" fill=\"%s\"/>\n", \
			left, y, width, colour(name)
		printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#111\"/>\n", \
			left + low, y + 8, left + high, y + 8
		if (name ~ /^SWUpdate/ && middle > 1)
			printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"16\" " \
				"fill=\"#f3cdb4\"/>\n", left + width - scale, y, scale
		text(left + (high > width ? high : width) + 6, y + 12, "start", 12, "#222", \
			sprintf("%.2f s", middle))
	}
	printf "<line x1=\"%.1f\" y1=\"72\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#444\"/>\n", left, left, \
		76 + named * 28
}

$3 == "ext4" {
	if (!seen[$1]++)
		names[++named] = $1
	time[$1, $2, ++runs[$1, $2]] = $4
	if ($4 > longest)
		longest = $4
}

END {
	scale = longest > 0 ? 240 / longest : 1
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"%d\" " \
		"font-family=\"sans-serif\">\n", 116 + named * 28
	print "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
	text(20, 30, "start", 17, "#111", "Seconds of a full install, ext4 image of Debian packages")
	for (n = 1; n <= named; n++)
		text(182, 68 + n * 28, "end", 13, "#222", names[n])
	panel("tmpfs", 192)
	panel("disk", 532)
	text(20, 100 + named * 28, "start", 11, "#555", \
		"Bars: medians; lines: fastest to slowest round. abide reads the slot back where it does not " \
		"say otherwise; the others do not. Light: a wait of 1 s.")
	print "</svg>"
}
