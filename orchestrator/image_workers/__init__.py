"""Where the steps on pixels run: in threads of this process, or in processes of their own.

Context: each step calls OpenCV and NumPy some hundred times, which give up Python's lock and must get it
back each time, so that threads wait for one another: with adaptive augmentation a service on four cores was
busy on two of them. Decision: where cores allow, processes do these steps, and memory that both sides share
carries the pixels, since a pipe takes 3 ms for a megabyte. Consequence: all cores are used; a process costs
35 MB; and a file that crashes or hangs a decoder ends a worker and not the service, which the standard
library's ``ProcessPoolExecutor`` could not promise: it breaks as a whole with one process, and gives none a
limit of time.
"""
