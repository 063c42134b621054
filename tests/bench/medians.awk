# Rows of measured runs: the medians of one image on one medium (-v image= -v medium=), a line for
# each name, in the order in which they first come: name, then the seven figures of measure.c. With
# -v wait=1 also a line without the second that SWUpdate waits.

function median(list, count,    i, j, value) {
	for (i = 2; i <= count; i++) {
		value = list[i]
		for (j = i - 1; j >= 1 && list[j] > value; j--)
			list[j + 1] = list[j]
		list[j + 1] = value
	}
	return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
}

$2 == medium && $3 == image {
	if (!($1 in runs))
		names[++named] = $1
	runs[$1]++
	for (i = 4; i <= 10; i++)
		figure[$1, runs[$1], i] = $i + 0
}

END {
	for (n = 1; n <= named; n++) {
		name = names[n]
		line = name
		for (i = 4; i <= 10; i++) {
			for (r = 1; r <= runs[name]; r++)
				list[r] = figure[name, r, i]
			medians[i] = median(list, runs[name])
			line = line "\t" medians[i]
		}
		print line
		if (wait != "" && name ~ /^SWUpdate/ && medians[4] > wait)
			printf "%s, less its wait of 1 s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, medians[4] - wait, \
				medians[5], medians[6], medians[7], medians[8], medians[9], medians[10]
	}
}
